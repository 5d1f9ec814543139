//! The disk behind the store, and the one that is built in: redb, a crash-safe B-tree in one file.
//!
//! Format of the file (`format` 1): table `objects` maps a key to the value's bytes; table `meta` maps `revision` to the revision of
//! the last commit and `format` to the number of this format. A batch is one redb transaction, so it is there wholly or not at all.

use crate::OpenError;
use bytes::Bytes;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT: u64 = 1;
/// Values are all in memory already; the engine only needs room for the branches of its tree.
const CACHE_BYTES: usize = 8 << 20;

/// One change to make durable.
pub struct Record {
    /// Where.
    pub key: crate::Key,
    /// What; `None` removes the key.
    pub value: Option<Bytes>,
}

/// Durable storage of keys and bytes.
pub trait Engine: Send {
    /// Reads everything; the revision of the last batch.
    ///
    /// # Errors
    /// On disk trouble, and those of `each`.
    fn load(&mut self, each: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError>;

    /// Makes a batch durable; `revision` is that of its last operation.
    ///
    /// # Errors
    /// With the reason; then nothing of the batch is there, also after a crash.
    fn append(&mut self, batch: &[Record], revision: u64) -> Result<(), String>;
}

/// redb as the engine.
pub struct RedbEngine {
    path: PathBuf,
    database: Option<Database>,
}

impl RedbEngine {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// When another process has it open, on disk trouble, or if the file's format is unknown.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { path: path.to_owned(), database: Some(open(path)?) })
    }

    fn write(database: &Database, batch: &[Record], revision: u64) -> Result<(), redb::Error> {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for record in batch {
                match &record.value {
                    Some(value) => objects.insert(&*record.key, &**value).map(drop)?,
                    None => objects.remove(&*record.key).map(drop)?,
                }
            }
            transaction.open_table(META)?.insert("revision", revision)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn last_revision(database: &Database) -> Result<u64, redb::Error> {
        Ok(database.begin_read()?.open_table(META)?.get("revision")?.map_or(0, |v| v.value()))
    }
}

fn open(path: &Path) -> Result<Database, OpenError> {
    let shown = path.display();
    let disk = |e: redb::Error| OpenError::Disk(format!("{shown}: {e}"));
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(|e| match e {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(shown.to_string()),
        other => disk(other.into()),
    })?;
    let format = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let format = {
            transaction.open_table(OBJECTS)?;
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format")?.map(|v| v.value());
            match found {
                Some(format) => format,
                None => {
                    meta.insert("format", FORMAT)?;
                    FORMAT
                }
            }
        };
        transaction.commit()?;
        Ok(format)
    };
    match format().map_err(disk)? {
        FORMAT => Ok(database),
        other => Err(OpenError::Disk(format!(
            "{shown} has format {other}, this version of Coracle reads format {FORMAT}: use the version that wrote it"
        ))),
    }
}

impl Engine for RedbEngine {
    fn load(&mut self, each: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError> {
        let disk = |e: redb::Error| OpenError::Disk(format!("{}: {e}", self.path.display()));
        let Some(database) = &self.database else { return Err(OpenError::Disk("the store is not open".into())) };
        let transaction = database.begin_read().map_err(|e| disk(e.into()))?;
        let objects = transaction.open_table(OBJECTS).map_err(|e| disk(e.into()))?;
        for item in objects.iter().map_err(|e| disk(e.into()))? {
            let (key, value) = item.map_err(|e| disk(e.into()))?;
            each(key.value(), Bytes::copy_from_slice(value.value()))?;
        }
        Self::last_revision(database).map_err(disk)
    }

    fn append(&mut self, batch: &[Record], revision: u64) -> Result<(), String> {
        if let Some(database) = &self.database {
            match Self::write(database, batch, revision) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, path = %self.path.display(), "a commit failed; opening the store anew")
                }
            }
        }
        // After a failed write redb takes no more of them. Opening the file anew rolls an unfinished commit back,
        // and its revision says which side of the commit the failure was on.
        self.database = None;
        let database = open(&self.path).map_err(|e| e.to_string())?;
        let found = Self::last_revision(&database);
        let answer = match found {
            Ok(found) if found == revision => Ok(()),
            // once more: the failure may have been the previous batch's, a full disk may have room again
            Ok(_) => Self::write(&database, batch, revision).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.database = Some(database);
        answer
    }
}
