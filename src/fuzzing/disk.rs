//! A disk in memory on which nothing goes wrong, for readers of stored files.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Disk, DiskFile, StoreError};

/// Files by path. Folders are where files are.
#[derive(Default)]
pub(super) struct MemoryDisk(Mutex<BTreeMap<String, Arc<MemoryFile>>>);

struct MemoryFile {
    path: String,
    bytes: Mutex<Vec<u8>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn none(path: &str) -> StoreError {
    StoreError::io(path, 0, "opening", Error::from(ErrorKind::NotFound))
}

impl MemoryDisk {
    /// A disk that holds one file.
    pub(super) fn with(path: &str, bytes: Vec<u8>) -> Arc<Self> {
        let disk = Self::default();
        disk.put(path, bytes);
        Arc::new(disk)
    }

    fn put(&self, path: &str, bytes: Vec<u8>) -> Arc<MemoryFile> {
        let file = Arc::new(MemoryFile { path: path.into(), bytes: Mutex::new(bytes) });
        lock(&self.0).insert(path.into(), Arc::clone(&file));
        file
    }

    /// What a file holds; nothing where there is none.
    pub(super) fn bytes_of(&self, path: &str) -> Vec<u8> {
        lock(&self.0).get(path).map(|file| lock(&file.bytes).clone()).unwrap_or_default()
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        if lock(&self.0).contains_key(path) {
            return Err(StoreError::io(path, 0, "creating", Error::from(ErrorKind::AlreadyExists)));
        }
        Ok(self.put(path, vec![0; bytes as usize]))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        match lock(&self.0).get(path) {
            Some(file) => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            None => Err(none(path)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let files = lock(&self.0);
        let below = files.keys().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
        let mut names: Vec<String> =
            below.filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn make_folder(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let file = lock(&self.0).remove(from).ok_or_else(|| none(from))?;
        self.put(to, std::mem::take(&mut *lock(&file.bytes)));
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        lock(&self.0).remove(path);
        Ok(())
    }

    fn remove_folder(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn sync_folder(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(u64::MAX)
    }
}

impl DiskFile for MemoryFile {
    fn name(&self) -> &str {
        &self.path
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        let bytes = lock(&self.bytes);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result<(), StoreError> {
        let (mut bytes, offset) = (lock(&self.bytes), offset as usize);
        let end = offset + from.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(from);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        Ok(lock(&self.bytes).len() as u64)
    }

    fn truncate(&self, bytes: u64) -> Result<(), StoreError> {
        lock(&self.bytes).truncate(bytes as usize);
        Ok(())
    }
}
