//! Which user a container runs as: numbers from the pod, else names or numbers from the image, looked up in the image's own files.

use super::Input;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// `/etc/passwd` and `/etc/group` of the image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts<'a> {
    /// Users.
    pub passwd: &'a str,
    /// Groups.
    pub group: &'a str,
}

/// Who runs.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Accounts<'a> {
    fn users(self) -> impl Iterator<Item = Account<'a>> {
        self.passwd.lines().filter_map(|line| {
            let mut f = line.split(':');
            let (name, uid, gid) = (f.next()?, f.nth(1)?.parse().ok()?, f.next()?.parse().ok()?);
            Some(Account { name, uid, gid, home: f.nth(1).unwrap_or("") })
        })
    }

    /// (name, number, members)
    fn groups(self) -> impl Iterator<Item = (&'a str, u32, &'a str)> {
        self.group.lines().filter_map(|line| {
            let mut f = line.split(':');
            Some((f.next()?, f.nth(1)?.parse().ok()?, f.next().unwrap_or("")))
        })
    }
}

pub fn resolve(input: &Input<'_>) -> Result<User> {
    let (security, accounts) = (&input.container.security, input.accounts);
    let refused = |why: String| Error::Container(format!("failed to generate container spec: {why}"));
    let number = |n: i64| u32::try_from(n).map_err(|_| refused(format!("user or group {n} is out of range")));
    let (image_user, image_group) = match input.image.user.split_once(':') {
        Some((user, group)) => (user, group),
        None => (input.image.user.as_str(), ""),
    };
    check_not_root(input, image_user)?;
    let wanted = match security.run_as_user {
        Some(uid) => number(uid)?.to_string(),
        None => image_user.to_owned(),
    };
    let account = match wanted.parse::<u32>() {
        Ok(uid) => accounts.users().find(|a| a.uid == uid).unwrap_or(Account { name: "", uid, gid: 0, home: "/" }),
        Err(_) if wanted.is_empty() => {
            accounts.users().find(|a| a.uid == 0).unwrap_or(Account { name: "root", uid: 0, gid: 0, home: "/root" })
        }
        Err(_) => accounts
            .users()
            .find(|a| a.name == wanted)
            .ok_or_else(|| refused(format!("unable to find user {wanted}: no matching entries in passwd file")))?,
    };
    let gid = match (security.run_as_group, security.run_as_user, image_group) {
        (Some(gid), _, _) => number(gid)?,
        (None, Some(_), _) | (None, None, "") => account.gid,
        (None, None, group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                accounts.groups().find(|(name, ..)| *name == group).map(|(_, gid, _)| gid).ok_or_else(|| {
                    refused(format!("unable to find group {group}: no matching entries in group file"))
                })?
            }
        },
    };
    let mut groups = BTreeSet::from([gid]);
    let member = |members: &str| !account.name.is_empty() && members.split(',').any(|m| m == account.name);
    groups.extend(accounts.groups().filter(|(.., members)| member(members)).map(|(_, gid, _)| gid));
    for group in &security.supplemental_groups {
        groups.insert(number(*group)?);
    }
    let home = if account.home.is_empty() { "/" } else { account.home };
    Ok(User { uid: account.uid, gid, groups: groups.into_iter().collect(), home: home.to_owned() })
}

/// The kubelet's rule and words.
fn check_not_root(input: &Input<'_>, image_user: &str) -> Result<()> {
    let (security, pod) = (&input.container.security, input.sandbox);
    if !security.run_as_non_root {
        return Ok(());
    }
    let place = format!("(pod: \"{}_{}({})\", container: {})", pod.name, pod.namespace, pod.uid, input.container.name);
    let refused = |why: String| Err(Error::Container(format!("{why} {place}")));
    match (security.run_as_user, image_user.parse::<u32>()) {
        (Some(0), _) => refused("container's runAsUser breaks non-root policy".into()),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => refused("container has runAsNonRoot and image will run as root".into()),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if image_user.is_empty() => {
            refused("container has runAsNonRoot and image will run as root".into())
        }
        (None, Err(_)) => refused(format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
        )),
    }
}
