//! Snapshot files on a faulty disk: a snapshot counts whole or not at all.

use super::super::RealDisk;
use super::super::faulty::{Chance, Faults, FaultyDisk};
use super::*;

fn manifest(files: Vec<WrittenFile>, action: u64) -> Manifest {
    let file = |written| ManifestFile {
        written,
        namespace: "telco".into(),
        partition: 0,
        last_action: action,
        clock_ms: -5,
        match_log_end: 77,
        ping_log_next: None,
        devices: 3,
    };
    Manifest {
        version: 0,
        number: 0,
        begun_ms: 1_000,
        last_action: action,
        files: files.into_iter().map(file).collect(),
        sources: vec![SourceMark {
            namespace: "telco".into(),
            identity: "feeder".into(),
            source: "a".into(),
            batch: u64::MAX,
        }],
    }
}

fn blocks(chance: &mut Chance) -> Vec<Vec<u8>> {
    let count = chance.below(6);
    let mut block = || {
        let length = chance.below(5_000);
        (0..length).map(|_| chance.next() as u8).collect()
    };
    (0..count).map(|_| block()).collect()
}

fn write(folder: &SnapshotFolder, files: &[Vec<Vec<u8>>], reserved: u64) -> Result<Manifest, StoreError> {
    let draft = folder.begin(folder.next_number()?)?;
    let mut written = Vec::new();
    for (at, blocks) in files.iter().enumerate() {
        let mut file = draft.file(&format!("telco-{at}"), reserved)?;
        for block in blocks {
            let (left, right) = block.split_at(block.len() / 3);
            file.block(&[left, right])?;
        }
        written.push(file.finish()?);
    }
    let mut manifest = manifest(written, 5);
    draft.commit(&mut manifest)?;
    Ok(manifest)
}

fn read(folder: &SnapshotFolder, manifest: &Manifest) -> Result<Vec<Vec<Vec<u8>>>, StoreError> {
    let mut files = Vec::new();
    for file in &manifest.files {
        let mut reader = folder.read(manifest.number, &file.written)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next()? {
            blocks.push(block.to_vec());
        }
        files.push(blocks);
    }
    Ok(files)
}

#[test]
fn what_was_written_is_read_on_the_real_disk() {
    let root = tempfile::tempdir().unwrap();
    let folder = SnapshotFolder::open(Arc::new(RealDisk::open(root.path()).unwrap()), "snapshots").unwrap();
    let big: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    let files = vec![vec![big.clone(), Vec::new(), big.clone(), big], vec![], vec![b"one".to_vec()]];
    let written = write(&folder, &files, 1 << 20).unwrap();
    let (found, skipped) = folder.list().unwrap();
    assert_eq!(found, std::slice::from_ref(&written));
    assert!(skipped.is_empty());
    assert_eq!((written.version, written.number), (1, 1));
    assert_eq!(read(&folder, &written).unwrap(), files);
    folder.remove(1).unwrap();
    assert!(folder.list().unwrap().0.is_empty());
    assert_eq!(folder.next_number().unwrap(), 1);
}

#[test]
fn a_snapshot_counts_whole_or_not_at_all() {
    let (mut finished, mut unfinished, mut removed) = (0, 0, 0);
    for seed in 0..3_000 {
        let disk = FaultyDisk::new(seed);
        let mut chance = Chance::new(seed ^ 0xabc);
        let folder = SnapshotFolder::open(Arc::new(disk.clone()), "snapshots").unwrap();
        let first = vec![blocks(&mut chance), blocks(&mut chance)];
        let old = write(&folder, &first, chance.below(2) * 9_000).unwrap();
        let second = vec![blocks(&mut chance), blocks(&mut chance), blocks(&mut chance)];
        if chance.percent(30) {
            disk.set_faults(Faults { failed_sync: 60_000, write_error: 60_000, ..Faults::default() });
        }
        disk.set_fuse(Some(chance.below(60)));
        let new = write(&folder, &second, chance.below(2) * 9_000);
        let gone = new.is_ok() && chance.percent(50) && folder.remove(old.number).is_ok();
        let tried_removal = new.is_ok();
        if chance.percent(80) {
            disk.power_cut()
        } else {
            disk.crash()
        }
        disk.set_faults(Faults::default());

        let (found, skipped) = folder.list().unwrap();
        assert!(skipped.iter().all(|skipped| skipped.error.is_none()), "seed {seed}: {skipped:?}");
        for manifest in &found {
            let expected = if manifest.number == old.number { &first } else { &second };
            assert_eq!(read(&folder, manifest).unwrap(), *expected, "seed {seed}");
        }
        if let Ok(new) = &new {
            assert_eq!(found.first(), Some(new), "seed {seed}: it was committed");
            finished += 1;
        } else if found.len() == 1 {
            unfinished += 1;
        }
        let old_there = found.iter().any(|manifest| manifest.number == old.number);
        assert!(old_there || tried_removal, "seed {seed}");
        assert!(!old_there || !gone, "seed {seed}: a removed snapshot came back");
        removed += u64::from(gone);
        for skipped in skipped {
            folder.remove(skipped.number).unwrap();
        }
    }
    println!("{finished} finished, {unfinished} not, {removed} removed");
    assert!(finished > 100 && unfinished > 100 && removed > 50);
}

#[test]
fn damage_is_found_wherever_it_is() {
    let disk = FaultyDisk::new(1);
    let mut chance = Chance::new(9);
    let folder = SnapshotFolder::open(Arc::new(disk.clone()), "snapshots").unwrap();
    let files = vec![vec![vec![7; 1_001], vec![8; 500]], blocks(&mut chance)];
    let written = write(&folder, &files, 0).unwrap();
    let mut found = 0;
    for (path, length) in disk.files() {
        for at in 0..length {
            disk.flip(&path, at, 0x04);
            let (manifests, skipped) = folder.list().unwrap();
            if path.ends_with(MANIFEST) {
                assert!(manifests.is_empty(), "byte {at} of the manifest");
                assert!(skipped[0].error.as_ref().unwrap().is_damage());
                found += 1;
            } else {
                match read(&folder, &written) {
                    Ok(blocks) => assert_eq!(blocks, files, "only padding may flip unseen"),
                    Err(StoreError::Damaged { file, .. }) => {
                        assert_eq!(file, path);
                        found += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            disk.flip(&path, at, 0x04);
        }
    }
    assert!(found > 6_000, "{found}");
    // A whole file in another's place, and a file cut at a block's border.
    let names: Vec<String> = disk.files().into_iter().map(|(path, _)| path).collect();
    let one = names.iter().find(|path| path.ends_with("telco-0")).unwrap();
    let mut other = written.files[0].written.clone();
    other.name = "telco-1".into();
    disk.lose(names.iter().find(|path| path.ends_with("telco-1")).unwrap());
    disk.rename(one, &one.replace("telco-0", "telco-1")).unwrap();
    assert!(folder.read(1, &other).unwrap_err().is_damage());
}

#[test]
fn a_later_version_is_named() {
    let disk = FaultyDisk::new(2);
    let folder = SnapshotFolder::open(Arc::new(disk.clone()), "snapshots").unwrap();
    write(&folder, &[], 0).unwrap();
    let (path, _) = disk.files().into_iter().find(|(path, _)| path.ends_with(MANIFEST)).unwrap();
    let json = r#"{"version":2,"other":[]}"#;
    let text = format!("{json}\ncrc32c {:08x}\n", crc32c(json.as_bytes()));
    let file = disk.open(&path).unwrap();
    file.write_at(0, text.as_bytes()).unwrap();
    file.truncate(text.len() as u64).unwrap();
    let refused = folder.list().unwrap_err();
    assert!(matches!(refused, StoreError::LaterVersion { version: 2, known: 1, .. }), "{refused}");
    assert!(refused.to_string().starts_with(&path), "{refused}");
}

#[test]
fn names_cannot_lead_elsewhere() {
    let disk = FaultyDisk::new(3);
    let folder = SnapshotFolder::open(Arc::new(disk), "snapshots").unwrap();
    let draft = folder.begin(1).unwrap();
    for name in ["", "../x", "a/b", ".x", "MANIFEST", "MANIFEST.new"] {
        assert!(draft.file(name, 0).is_err(), "{name}");
    }
}
