//! Putting it together: from an empty data directory to a server that answers, and back.

use crate::{
    admission::Chain,
    app::{self, App},
    auth::{self, Auth, User},
    bootstrap,
    catalog::Catalog,
    client::LocalClient,
    custom,
    discovery::Discovery,
    egress::Egress,
    flow_control,
    health::Health,
    http,
    metrics::Metrics,
    openapi::OpenApi,
    registry::{
        Registry,
        allocate::{Allocator, Cidr},
        list::Paging,
        turns::Turns,
    },
    runtime_config::RuntimeConfig,
    storage::Store,
    usage::Usage,
    view::StoreView,
    webhook::Webhooks,
};
use coracle_api::Status;
use coracle_base::{SharedClock, Tasks};
use coracle_client::{SharedClient, SharedView};
use coracle_pki::{Credentials, Kubeconfig, Names, Pki, tls};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The version whose types and behaviour the API has.
pub const KUBERNETES_VERSION: &str = "v1.37.0";

/// What a server needs to know before it starts.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where everything that must survive is kept.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Where nodes and pods reach the server; found by itself if not given.
    pub advertise: Option<IpAddr>,
    /// More names and addresses in the server's certificate.
    pub names: Vec<String>,
    /// The cluster's name, in kubeconfigs.
    pub cluster: String,
    /// The cluster's DNS domain.
    pub domain: String,
    /// Cluster IPs, `10.96.0.0/16`.
    pub services: String,
    /// Node ports, both ends included.
    pub node_ports: (u16, u16),
    /// What is served beside and instead of the stable versions: `api/beta=true`, `batch/v1/jobs=false`.
    pub runtime_config: Vec<String>,
    /// Time.
    pub clock: SharedClock,
}

impl ServerConfig {
    /// Everything as upstream's defaults have it.
    pub fn new(data_dir: PathBuf, bind: SocketAddr) -> Self {
        Self {
            data_dir,
            bind,
            advertise: None,
            names: Vec::new(),
            cluster: "coracle".into(),
            domain: "cluster.local".into(),
            services: "10.96.0.0/16".into(),
            node_ports: (30000, 32767),
            runtime_config: Vec::new(),
            clock: Arc::new(coracle_base::SystemClock),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error("the data directory {0} cannot be used: {1}")]
    Data(PathBuf, std::io::Error),
    /// The store.
    #[error("the store does not open")]
    Store(#[from] coracle_store::OpenError),
    /// Keys and certificates.
    #[error("keys and certificates")]
    Pki(#[from] coracle_pki::Error),
    /// The address.
    #[error("cannot listen on {0}: {1}; stop whatever uses it, or choose another address with --bind")]
    Bind(SocketAddr, std::io::Error),
    /// A setting.
    #[error("{0}")]
    Setting(String),
    /// The objects that every cluster has.
    #[error("the cluster's own objects cannot be written")]
    Bootstrap(#[from] Status),
}

/// A running API server.
pub struct Server {
    app: Arc<App>,
    view: SharedView,
    pki: Arc<Pki>,
    tasks: Tasks,
    address: SocketAddr,
    url: String,
}

impl Server {
    /// Starts: when this returns, requests are answered, `/readyz` says ok and `admin.kubeconfig` is written.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        let services = Cidr::parse(&config.services).ok_or_else(|| {
            StartError::Setting(format!("{:?} is no IPv4 range such as 10.96.0.0/16", config.services))
        })?;
        let known = coracle_kinds::all().iter().chain(coracle_kinds::optional()).map(|k| &k.resource);
        let versions = RuntimeConfig::read(config.runtime_config.iter().map(String::as_str), known)
            .map_err(|e| StartError::Setting(format!("--runtime-config: {e}")))?;
        std::fs::create_dir_all(&config.data_dir).map_err(|e| StartError::Data(config.data_dir.clone(), e))?;
        let now = config.clock.now();
        let listener = TcpListener::bind(config.bind).await.map_err(|e| StartError::Bind(config.bind, e))?;
        let address = listener.local_addr().map_err(|e| StartError::Bind(config.bind, e))?;
        let advertise = config.advertise.unwrap_or_else(|| advertised(address.ip()));
        let url = format!("https://{}", SocketAddr::new(advertise, address.port()));
        // keys and store are both disk work: at the same time
        let (pki_dir, store_path) = (config.data_dir.join("pki"), config.data_dir.join("store.redb"));
        let opening = tokio::task::spawn_blocking(move || Store::open(&store_path, coracle_store::Options::default()));
        let pki = Arc::new(Pki::open(&pki_dir, now)?);
        let mut hosts = config.names.clone();
        hosts.extend([advertise.to_string(), address.ip().to_string()]);
        let names = Names::of_server(&hosts, Some(IpAddr::V4(services.nth(1))), &config.domain);
        let serving = tls::RotatingCertificate::new(pki.serving(&names, now)?)?;
        let calling = tls::RotatingCertificate::new(pki.kubelet_client(now)?)?;
        let store = opening.await.map_err(|e| StartError::Setting(format!("opening the store panicked: {e}")))??;

        let tasks = Tasks::new();
        let view: SharedView = Arc::new(StoreView::new(store.clone()));
        let settings = auth::Settings::new(pki.tokens().clone(), &config.domain, &url);
        let auth = Auth::start(view.clone(), config.clock.clone(), settings, &tasks);
        let catalog = Catalog::built_in(&versions);
        let authority = pki.authority().certificate_pem();
        let agents = tls::client_config(&authority, Some(calling.clone()))?;
        let egress = Arc::new(Egress::new(view.clone(), agents).map_err(coracle_pki::Error::from)?);
        let webhooks = Arc::new(Webhooks::new(egress.clone(), view.clone()));
        custom::load(&view, &catalog, &webhooks);
        let registry = Arc::new(Registry {
            view: StoreView::new(store.clone()),
            store,
            catalog: catalog.clone(),
            chain: Chain::standard(&auth.authorizer),
            authorizer: auth.authorizer.clone(),
            clock: config.clock.clone(),
            allocator: Allocator { services, node_ports: config.node_ports },
            turns: Turns::default(),
            paging: Paging::default(),
        });
        let health = Health::new(registry.store.clone());
        let app = Arc::new(App {
            registry,
            auth,
            discovery: Discovery::new(&catalog, &SocketAddr::new(advertise, address.port()).to_string()),
            openapi: OpenApi::new(&catalog),
            health,
            metrics: Metrics::default(),
            usage: Usage::new(egress.clone(), config.clock.clone()),
            egress,
            stop: tasks.token(),
        });
        let acceptor =
            TlsAcceptor::from(Arc::new(tls::server_config(serving.clone(), Some(pki.authority().certificate()))?));
        let server = Self { app: app.clone(), view, pki, tasks, address, url };
        server.keep_certificates_fresh(&config, names, serving, calling);
        let components = server.client(User::component("system:apiserver", &["system:masters"]));
        custom::follow(server.view(), components, catalog, webhooks, config.clock.clone(), &server.tasks);
        let handler = move |peer, request| app::handle(app.clone(), peer, request);
        server.tasks.spawn("http", http::serve(listener, acceptor, server.tasks.clone(), handler));
        if let Err(error) = server.prepare(&config, services, advertise).await {
            server.stop().await;
            return Err(error);
        }
        server.app.health.set_ready();
        let client = server.client(User::component("system:apiserver", &["system:masters"]));
        server.tasks.spawn("flow control", flow_control::keep(server.view(), client, config.clock.clone()));
        Ok(server)
    }

    /// The objects that every cluster has, and the administrator's kubeconfig.
    async fn prepare(&self, config: &ServerConfig, services: Cidr, advertise: IpAddr) -> Result<(), StartError> {
        let client = self.client(User::component("system:apiserver", &["system:masters"]));
        auth::bootstrap::apply(&*self.view, &*client).await?;
        // an endpoint is never on the loopback: a server that listens there alone names the address that others would come to
        let endpoint = if advertise.is_loopback() { outward() } else { Some(advertise) };
        bootstrap::apply(&*self.view, &*client, services, endpoint, self.address.port()).await?;
        let reached = if self.address.ip().is_loopback() { self.address.ip() } else { advertise };
        let kubeconfig = Kubeconfig {
            cluster: config.cluster.clone(),
            user: format!("{}-admin", config.cluster),
            server: format!("https://{}", SocketAddr::new(reached, self.address.port())),
            authority: self.pki.authority().certificate_pem(),
            credentials: Credentials::Certificate(self.pki.admin(config.clock.now())?),
        };
        coracle_pki::files::write(&config.data_dir.join("admin.kubeconfig"), &kubeconfig.to_yaml()?)?;
        Ok(())
    }

    fn keep_certificates_fresh(
        &self,
        config: &ServerConfig,
        names: Names,
        serving: Arc<tls::RotatingCertificate>,
        calling: Arc<tls::RotatingCertificate>,
    ) {
        let (pki, clock) = (self.pki.clone(), config.clock.clone());
        self.tasks.spawn("serving certificate", async move {
            let renew = || {
                let made = pki.serving(&names, clock.now());
                async move { made }
            };
            serving.keep_fresh::<_, coracle_pki::Error>(&*clock, renew).await;
        });
        let (pki, clock) = (self.pki.clone(), config.clock.clone());
        self.tasks.spawn("kubelet client certificate", async move {
            let renew = || {
                let made = pki.kubelet_client(clock.now());
                async move { made }
            };
            calling.keep_fresh::<_, coracle_pki::Error>(&*clock, renew).await;
        });
    }

    /// A client that acts as `user`: no TLS, no codecs; authorized and admitted as anybody.
    pub fn client(&self, user: User) -> SharedClient {
        Arc::new(LocalClient::new(self.app.clone(), user))
    }

    /// The world, straight from the store.
    pub fn view(&self) -> SharedView {
        self.view.clone()
    }

    /// The cluster's keys.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where nodes reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends watches and connections, and waits for the tasks. The store closes when the last client is gone.
    pub async fn stop(&self) {
        self.app.health.set_stopping();
        self.tasks.stop().await;
    }
}

/// The address of this machine that others would use.
fn advertised(bound: IpAddr) -> IpAddr {
    if bound.is_unspecified() { outward().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { bound }
}

/// The address from which this machine reaches others; none if it reaches nobody.
fn outward() -> Option<IpAddr> {
    // connecting a datagram socket sends nothing; it only asks which way packets would go
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}
