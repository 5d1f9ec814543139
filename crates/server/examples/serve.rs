//! A control plane's API server alone, for trying things by hand: `serve DATA_DIR ADDRESS:PORT`.

use coracle_server::{Server, ServerConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    coracle_base::telemetry::init("info");
    let arguments: Vec<String> = std::env::args().collect();
    let [_, data_dir, bind] = arguments.as_slice() else { return Err("usage: serve DATA_DIR ADDRESS:PORT".into()) };
    let began = std::time::Instant::now();
    let server = Server::start(ServerConfig::new(data_dir.into(), bind.parse()?)).await?;
    println!("ready at {} after {:?}", server.url(), began.elapsed());
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
