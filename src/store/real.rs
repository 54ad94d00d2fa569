//! The disk of the operating system, below one folder that one process holds.
//!
//! The lock is an advisory one (`flock`) on the file `LOCK` in the folder; the system gives it back when the
//! process ends, however it ends. New files are reserved with `fallocate`, so that a full disk is met when a
//! segment is made and not while a group is written.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, StoreError};

/// The name of the lock file.
const LOCK: &str = "LOCK";

/// Files below a folder that this process has locked.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
}

impl RealDisk {
    /// Makes the folder if need be and locks it.
    ///
    /// # Errors
    /// `Locked` where another process holds it, `Io`.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let name = root.display().to_string();
        let failed = |doing| {
            let name = name.clone();
            move |source| StoreError::io(&name, 0, doing, source)
        };
        fs::create_dir_all(root).map_err(failed("making the data folder"))?;
        let path = root.join(LOCK);
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut lock = opened.map_err(failed("opening the lock file in"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { folder: name }),
            Err(TryLockError::Error(source)) => return Err(failed("locking")(source)),
        }
        // For people only: who holds it. The lock is what counts.
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(failed("writing the lock file in"))?;
        Ok(Self { root: root.to_path_buf(), _lock: lock })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn sync_path(path: &Path, name: &str) -> Result<(), StoreError> {
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::sync(name, "syncing the folder", source))
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &str, bytes: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let created = OpenOptions::new().create_new(true).read(true).write(true).open(self.path(path));
        let file = created.map_err(|source| StoreError::io(path, 0, "creating", source))?;
        if let Err(source) = reserve(&file, bytes) {
            drop(file);
            self.remove(path)?;
            return Err(match StoreError::io(path, 0, "reserving room for", source) {
                StoreError::Full { file, offset, .. } => StoreError::Full { file, offset, bytes },
                other => other,
            });
        }
        Ok(Arc::new(RealFile { name: path.into(), file }))
    }

    fn open(&self, path: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        let opened = OpenOptions::new().read(true).write(true).open(self.path(path));
        let file = opened.map_err(|source| StoreError::io(path, 0, "opening", source))?;
        Ok(Arc::new(RealFile { name: path.into(), file }))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let failed = |source| StoreError::io(folder, 0, "listing", source);
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn make_folder(&self, folder: &str) -> Result<(), StoreError> {
        let mut path = self.root.clone();
        for part in folder.split('/') {
            let above = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => {}
                // One that is there may have been made just before a crash: its name is synced again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::io(folder, 0, "making the folder", error)),
            }
            Self::sync_path(&above, folder)?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let renamed = fs::rename(self.path(from), self.path(to));
        renamed.map_err(|source| StoreError::io(from, 0, "renaming", source))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(path, 0, "removing", error))
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        match fs::remove_dir(self.path(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io(folder, 0, "removing the folder", error))
            }
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StoreError> {
        Self::sync_path(&self.path(folder), folder)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.root);
        let stat = stat.map_err(|errno| StoreError::io("", 0, "asking for free room on", errno.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Reserves `bytes` of zeros; writes them where the file system cannot reserve.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < bytes {
                let part = (bytes - at).min(zeros.len() as u64);
                file.write_all_at(&zeros[..part as usize], at)?;
                at += part;
            }
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

struct RealFile {
    name: String,
    file: File,
}

impl DiskFile for RealFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        let mut done = 0;
        while done < into.len() {
            let at = offset + done as u64;
            match self.file.read_at(&mut into[done..], at) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::io(&self.name, at, "reading", error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|source| StoreError::io(&self.name, offset, "writing", source))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| StoreError::sync(&self.name, "syncing", source))
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let found = self.file.metadata();
        Ok(found.map_err(|source| StoreError::io(&self.name, 0, "asking for the length of", source))?.len())
    }

    fn truncate(&self, bytes: u64) -> Result<(), StoreError> {
        self.file.set_len(bytes).map_err(|source| StoreError::io(&self.name, bytes, "cutting", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let held = RealDisk::open(folder.path()).unwrap();
        let refused = RealDisk::open(folder.path()).unwrap_err();
        let name = folder.path().display().to_string();
        assert!(matches!(&refused, StoreError::Locked { folder } if *folder == name), "{refused}");
        assert!(refused.to_string().contains(&name));
        drop(held);
        RealDisk::open(folder.path()).unwrap();
    }

    #[test]
    fn files_do_as_the_seam_says() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        disk.make_folder("a/b").unwrap();
        disk.make_folder("a/b").unwrap();
        let file = disk.create("a/b/one", 8_192).unwrap();
        assert_eq!(file.bytes().unwrap(), 8_192);
        assert!(disk.create("a/b/one", 0).is_err(), "it is there");
        file.write_at(4_090, b"across").unwrap();
        file.sync().unwrap();
        let mut read = [9; 10];
        assert_eq!(file.read_at(4_088, &mut read).unwrap(), 10);
        assert_eq!(&read, b"\0\0across\0\0");
        assert_eq!(file.read_at(8_190, &mut read).unwrap(), 2);
        file.truncate(4_092).unwrap();
        assert_eq!(disk.open("a/b/one").unwrap().bytes().unwrap(), 4_092);
        disk.rename("a/b/one", "a/b/two").unwrap();
        disk.sync_folder("a/b").unwrap();
        assert_eq!(disk.list("a/b").unwrap(), ["two"]);
        assert!(disk.remove_folder("a/b").is_err(), "it is not empty");
        disk.remove("a/b/two").unwrap();
        disk.remove("a/b/two").unwrap();
        disk.remove_folder("a/b").unwrap();
        assert!(disk.list("a/b").unwrap().is_empty());
        assert!(disk.free_bytes().unwrap() > 0);
        let huge = disk.create("a/huge", 1 << 60).err().map(|error| error.to_string());
        assert!(huge.is_some(), "no disk has an exbibyte");
        assert!(disk.list("a").unwrap().is_empty(), "what could not be reserved is not there");
    }
}
