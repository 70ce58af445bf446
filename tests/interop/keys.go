package main

import (
	"encoding/base64"
	"errors"
	"strings"

	"filippo.io/torchwood"
	transparency "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// keyring holds the keys that are trusted, of logs (their name is the origin) and of witnesses.
type keyring struct {
	known note.Verifiers
	// signers are the type 01 keys alone: what signs an export's end or an order of removal.
	signers note.Verifiers
	// lastWitness is the last key of type 04 (base64 of it begins with B), whose cosignature is asked for.
	lastWitness string
}

// parseKeys reads type 01 keys as golang.org/x/mod does, and types 04 and 06 as transparency-dev does.
func parseKeys(vkeys string) (keyring, error) {
	var known, signers []note.Verifier
	var ring keyring
	owners := map[string]owner{}
	for _, vkey := range strings.Fields(vkeys) {
		verifier, err := note.NewVerifier(vkey)
		if err == nil {
			signers = append(signers, verifier)
		} else if verifier, err = transparency.NewVerifierForCosignatureV1(vkey); err != nil {
			return ring, err
		} else if strings.HasPrefix(strings.SplitN(vkey, "+", 3)[2], "B") {
			ring.lastWitness = vkey
		}
		known = append(known, verifier)
		if err := claim(owners, verifier.Name(), vkey); err != nil {
			return ring, err
		}
	}
	ring.known, ring.signers = note.VerifierList(known...), note.VerifierList(signers...)
	return ring, nil
}

// owner has a public key: of a log, which may sign for other logs with it, or of a witness, which may not.
type owner struct {
	name    string
	witness bool
}

// claim notes whose a public key is, and refuses one of type 04 that has another name too.
func claim(owners map[string]owner, name, vkey string) error {
	typed, err := base64.StdEncoding.DecodeString(strings.SplitN(vkey, "+", 3)[2])
	if err != nil {
		return err
	}
	mine := owner{name, typed[0] == 4}
	public := string(typed[1:])
	if other, given := owners[public]; given && other.name != name && (other.witness || mine.witness) {
		return unverified("%s and %s have one key, so there is one witness less", other.name, name)
	}
	owners[public] = mine
	return nil
}

// openNote verifies a signed note; at least one of the keys must have signed it, and none of them badly.
func openNote(raw []byte, keys note.Verifiers) (*note.Note, error) {
	opened, err := note.Open(raw, keys)
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &unknown):
		return nil, unverified("no known key signed it: %w", err)
	case err != nil:
		return nil, tampered("%w", err)
	}
	return opened, nil
}

// openCheckpoint verifies a checkpoint by a key of its log, and names who signed it.
func openCheckpoint(raw []byte, keys keyring) (torchwood.Checkpoint, []note.Signature, error) {
	opened, err := openNote(raw, keys.known)
	if err != nil {
		return torchwood.Checkpoint{}, nil, err
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return checkpoint, nil, tampered("%w", err)
	}
	if !signedBy(opened, checkpoint.Origin) {
		return checkpoint, nil, unverified("no key of %s is known that signed it", checkpoint.Origin)
	}
	return checkpoint, opened.Sigs, nil
}

func signedBy(opened *note.Note, name string) bool {
	for _, signature := range opened.Sigs {
		if signature.Name == name {
			return true
		}
	}
	return false
}
