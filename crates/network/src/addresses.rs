//! Which pod has which address: decided here, remembered on disk.
//!
//! An address that was freed is given out again only after all others have been: connections and DNS answers that still name it die first.

use crate::{Cidr, Error, Result};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// The addresses of one node's pods.
#[derive(Debug)]
pub struct Addresses {
    file: PathBuf,
    range: Cidr,
    given: BTreeMap<String, Ipv4Addr>,
    /// The address given last; the search for a free one goes on behind it.
    last: u32,
}

impl Addresses {
    /// Reads what an earlier process remembered in `directory`.
    pub fn load(directory: &Path, range: Cidr) -> Result<Self> {
        let file = directory.join("addresses");
        let failed = |source| Error::Kernel { what: format!("read {}", file.display()), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let mut addresses = Self { file, range, given: BTreeMap::new(), last: 0 };
        addresses.parse(&text)?;
        Ok(addresses)
    }

    /// Lines of `<pod uid> <address>`; the line `last <address>` says where the search goes on. Addresses of another range are dropped: the node got a new one.
    fn parse(&mut self, text: &str) -> Result<()> {
        for line in text.lines().filter(|line| !line.is_empty()) {
            let bad = || {
                Error::Config(format!(
                    "{}: cannot read line {line:?}: remove the file if no pod is running",
                    self.file.display()
                ))
            };
            let (uid, address) = line.split_once(' ').ok_or_else(bad)?;
            let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
            if !self.range.contains(address) {
                continue;
            }
            if uid == "last" {
                self.last = u32::from(address);
            } else {
                self.given.insert(uid.to_owned(), address);
            }
        }
        Ok(())
    }

    /// The address of `uid`, if it has one.
    pub fn get(&self, uid: &str) -> Option<Ipv4Addr> {
        self.given.get(uid).copied()
    }

    /// Pods and their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.given.iter().map(|(uid, address)| (uid.as_str(), *address))
    }

    /// The address of `uid`: the one it has, or a free one. It is on disk when this returns.
    pub fn give(&mut self, uid: &str) -> Result<Ipv4Addr> {
        if let Some(address) = self.get(uid) {
            return Ok(address);
        }
        let address = self.free().ok_or_else(|| Error::NoAddress(self.range.to_string()))?;
        let before = std::mem::replace(&mut self.last, u32::from(address));
        self.given.insert(uid.to_owned(), address);
        if let Err(error) = self.save() {
            self.given.remove(uid);
            self.last = before;
            return Err(error);
        }
        Ok(address)
    }

    /// Takes the address of `uid` back.
    pub fn take(&mut self, uid: &str) -> Result<Option<Ipv4Addr>> {
        let Some(address) = self.given.remove(uid) else { return Ok(None) };
        if let Err(error) = self.save() {
            self.given.insert(uid.to_owned(), address);
            return Err(error);
        }
        Ok(Some(address))
    }

    /// Forgets everything.
    pub fn remove(&mut self) -> Result<()> {
        self.given.clear();
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Kernel { what: format!("remove {}", self.file.display()), source: error })
            }
            _ => Ok(()),
        }
    }

    fn free(&self) -> Option<Ipv4Addr> {
        // The network's own address is the tunnel's, the first is the bridge's, the last is the broadcast address.
        let (first, end) = (u32::from(self.range.nth(2)), u32::from(self.range.last()));
        let start = self.last.saturating_add(1).clamp(first, end);
        (start..end)
            .chain(first..start)
            .map(Ipv4Addr::from)
            .find(|address| !self.given.values().any(|given| given == address))
    }

    fn save(&self) -> Result<()> {
        let mut text = String::new();
        for (uid, address) in &self.given {
            text += &format!("{uid} {address}\n");
        }
        text += &format!("last {}\n", Ipv4Addr::from(self.last));
        let write = || -> io::Result<()> {
            let new = self.file.with_extension("new");
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            fs::rename(&new, &self.file)
        };
        write().map_err(|source| Error::Kernel { what: format!("write {}", self.file.display()), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+a` gives, `-a` takes, `restart` reads the file again; returns what `+` gave (last byte, or `full`).
    fn check(prefix: u8, steps: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let range = Cidr { address: Ipv4Addr::new(10, 244, 1, 0), prefix };
        let mut addresses = Addresses::load(dir.path(), range).unwrap();
        let mut given = Vec::new();
        for step in steps.split_whitespace() {
            match step.split_at(1) {
                ("+", uid) => given.push(addresses.give(uid).map_or("full".to_owned(), |a| a.octets()[3].to_string())),
                ("-", uid) => drop(addresses.take(uid).unwrap()),
                _ => addresses = Addresses::load(dir.path(), range).unwrap(),
            }
        }
        assert_eq!(given.join(" "), expected, "{steps}");
    }

    #[test]
    fn addresses_are_stable_unique_and_reused_late() {
        check(24, "+a +b +a", "2 3 2");
        check(24, "+a +b restart +a +b +c", "2 3 2 3 4");
        check(24, "+a -a +b", "2 3");
        check(24, "+a -a restart +b", "2 3");
        check(29, "+a +b +c +d +e +f", "2 3 4 5 6 full");
        check(29, "+a +b +c +d +e -b +f", "2 3 4 5 6 3");
        check(24, "-x +a", "2");
    }

    #[test]
    fn another_range_forgets_the_old_addresses() {
        let dir = tempfile::tempdir().unwrap();
        let old = Cidr { address: Ipv4Addr::new(10, 244, 1, 0), prefix: 24 };
        Addresses::load(dir.path(), old).unwrap().give("a").unwrap();
        let new = Cidr { address: Ipv4Addr::new(10, 244, 2, 0), prefix: 24 };
        assert_eq!(Addresses::load(dir.path(), new).unwrap().give("a").unwrap(), Ipv4Addr::new(10, 244, 2, 2));
    }
}
