package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
)

// Section 10: an evidence file.

type evidenceSummary struct {
	Rows       uint64         `json:"rows"`
	Orders     []orderSummary `json:"orders"`
	NotGenuine []string       `json:"orders_not_genuine"`
	Unread     []string       `json:"formats_not_read"`
	NotProved  int            `json:"not_proved"`
	Unsigned   bool           `json:"end_unsigned"`
}

type exportedLog struct {
	Log        uint64 `json:"log"`
	Partition  uint64 `json:"partition"`
	Origin     string `json:"origin"`
	Checkpoint string `json:"checkpoint"`
}

type evidenceRow struct {
	Event    json.RawMessage `json:"event"`
	Position string          `json:"position"`
	Index    uint64          `json:"index"`
	Opening  string          `json:"opening"`
	Proof    []string        `json:"proof"`
}

type evidence struct {
	keys    keyring
	origins []string
	trees   map[string]torchwood.Checkpoint
	summary evidenceSummary
}

func checkEvidence(raw []byte, keys keyring) (evidenceSummary, error) {
	e := &evidence{keys: keys, trees: map[string]torchwood.Checkpoint{}}
	lines := bytes.SplitAfter(raw, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) != 0 || last < 2 {
		return e.summary, tampered("the file is cut off")
	}
	lines = lines[:len(lines)-1]
	end := lines[len(lines)-1]
	if err := e.readManifest(lines[0]); err != nil {
		return e.summary, err
	}
	for number, line := range lines[1 : len(lines)-1] {
		if err := e.checkRow(line); err != nil {
			return e.summary, fmt.Errorf("row %d: %w", number+1, err)
		}
		e.summary.Rows++
	}
	if err := e.checkEnd(end, sha256.Sum256(raw[:len(raw)-len(end)])); err != nil {
		return e.summary, err
	}
	switch {
	case e.summary.NotProved > 0:
		return e.summary, unverified("%d rows are too new, or no key of their log is known", e.summary.NotProved)
	case e.summary.Unsigned:
		return e.summary, unverified("the end is not signed: a row could be missing")
	case len(e.summary.Unread) > 0:
		return e.summary, unverified("no events of the formats %s are read here", strings.Join(e.summary.Unread, ", "))
	}
	return e.summary, nil
}

func (e *evidence) readManifest(line []byte) error {
	var manifest struct {
		Version int           `json:"trailseal-evidence"`
		Logs    []exportedLog `json:"logs"`
	}
	if err := decode(line, &manifest, "trailseal-evidence", "made_at", "query", "tenants", "logs"); err != nil {
		return tampered("manifest: %w", err)
	}
	if manifest.Version != 1 {
		return unverified("evidence of version %d", manifest.Version)
	}
	for _, log := range manifest.Logs {
		name := fmt.Sprintf("%d/%d", log.Log, log.Partition)
		e.origins = append(e.origins, log.Origin)
		checkpoint, _, err := openCheckpoint([]byte(log.Checkpoint), e.keys)
		if errors.Is(err, errUnverified) {
			continue // of an ended log, say: its rows stay without proof, if there are any
		}
		if err != nil {
			return fmt.Errorf("manifest: %s: %w", log.Origin, err)
		}
		if _, twice := e.trees[name]; twice || checkpoint.Origin != log.Origin {
			return tampered("manifest: the checkpoint for %s is of %s", log.Origin, checkpoint.Origin)
		}
		e.trees[name] = checkpoint
	}
	return nil
}

func (e *evidence) checkRow(line []byte) error {
	var row evidenceRow
	if err := decode(line, &row, "event", "position", "index", "opening", "proof"); err != nil {
		return tampered("%w", err)
	}
	opening, err := decodeBase64(row.Opening)
	if err != nil {
		return tampered("%w", err)
	}
	entry, record, err := parseOpening(opening)
	if err != nil {
		return tampered("%w", err)
	}
	if record == nil {
		return tampered("no record is shown")
	}
	log, offset, _ := cutLast(row.Position, "/")
	tree, known := e.trees[log]
	if offset != fmt.Sprint(entry.offset) {
		return tampered("position %s, and the entry's offset is %d", row.Position, entry.offset)
	}
	if err := e.checkEvent(row, *record); err != nil {
		return err
	}
	if row.Proof == nil || !known {
		e.summary.NotProved++
		return nil
	}
	hashes, err := decodeHashes(row.Proof)
	if err != nil {
		return tampered("%w", err)
	}
	if err := included(row.Index, uint64(tree.N), opening, hashes, tree.Hash[:]); err != nil {
		return err
	}
	// Leaf i is offset base + i - 1.
	e.noteOrder(*record, tree, entry.offset, entry.offset+1-row.Index)
	return nil
}

func (e *evidence) checkEvent(row evidenceRow, record frame) error {
	err := sameEvent(row.Event, record, row.Position)
	var unread formatNotRead
	if errors.As(err, &unread) {
		e.summary.Unread = append(e.summary.Unread, string(unread))
		return nil
	}
	if err != nil {
		return tampered("the event is not what the record says: %w", err)
	}
	return nil
}

// noteOrder lists what is an order; a record that only looks like one is a record like any other.
func (e *evidence) noteOrder(record frame, tree torchwood.Checkpoint, offset, base uint64) {
	switch order, err := genuineOrder(record, tree.Origin, offset, base, e.keys.signers); {
	case err == nil:
		e.summary.Orders = append(e.summary.Orders, *order)
	case !errors.Is(err, errNoOrder):
		e.summary.NotGenuine = append(e.summary.NotGenuine, err.Error())
	}
}

// checkEnd holds what the exporter vouches for against the file that is there.
func (e *evidence) checkEnd(line []byte, digest [sha256.Size]byte) error {
	var last struct {
		End json.RawMessage `json:"end"`
	}
	var end struct {
		Rows   uint64  `json:"rows"`
		SHA256 string  `json:"sha256"`
		Note   *string `json:"note"`
	}
	if err := decode(line, &last, "end"); err != nil {
		return tampered("end: %w", err)
	}
	if err := decode(last.End, &end, "rows", "sha256", "note"); err != nil {
		return tampered("end: %w", err)
	}
	if end.Rows != e.summary.Rows || end.SHA256 != hex.EncodeToString(digest[:]) {
		return tampered("the end is of another file")
	}
	if end.Note == nil {
		e.summary.Unsigned = true
		return nil
	}
	opened, err := openNote([]byte(*end.Note), e.keys.signers)
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	if opened.Text != fmt.Sprintf("trailseal-evidence/1\nrows %d\nsha256 %s\n", end.Rows, end.SHA256) {
		return tampered("what was signed is another end")
	}
	for _, origin := range e.origins {
		if signedBy(opened, origin) {
			return nil
		}
	}
	return unverified("no key of a log in the manifest signed the end")
}

// decode reads the fields of these names out of one JSON object, and passes over others. encoding/json alone would
// take a name for another one that differs in case.
func decode(line []byte, into any, names ...string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return err
	}
	known := map[string]json.RawMessage{}
	for _, name := range names {
		if value, given := fields[name]; given {
			known[name] = value
		}
	}
	exact, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return json.Unmarshal(exact, into)
}

func cutLast(text, separator string) (string, string, bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+1:], true
	}
	return text, "", false
}
