// Package record is what is written down of the versions on a gateway: by root, in
// the folder of the versions ([Root]), and by the agent's user, in data_dir/update
// ([Own]). Who decides by it are the packages launch, install and trial.
//
//	/usr/lib/scanrelay/scanrelay         the packaged version; no update touches it
//	/var/lib/scanrelay-versions/         root's alone
//	    record                           committed, previous, candidate, what is barred
//	    current -> 1.2.3                 the committed one, for people; or the package's folder
//	    1.2.3/scanrelay, 1.2.3/release   a version, and what it is by name and digest
//	/var/lib/scanrelay/update/           the agent's, and its group's
//	    state                            a trial with its tries, unplanned ends, the last verdict
//	    hold                             until when nothing is taken
//	    wanted                           what the centre wants, and how far that is
//	    download-…                       of it, as far as it came
//	    staged/target, staged/metadata   what root is asked to install, and why it may
//	    request                          what root is asked for; it takes it away
//
// Each small file is sealed by a checksum and replaced whole. One that is empty,
// zeros or garbage (TestEachFileMayBeSpoilt):
//
//   - record: what `current` leads to counts as committed; nothing else is known;
//   - release: that version is not run, nor taken for installed;
//   - state: no trial is on, no unplanned end is known; the committed version runs;
//   - hold: nothing is held, and status says so;
//   - wanted: the centre says it again; what it asked for before is tried as if by hand;
//   - request: it is refused, and taken away.
package record
