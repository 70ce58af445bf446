package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A C2SP tlog-witness client, and a log of its own to be cosigned.

func makeKey(name string) (map[string]string, error) {
	signer, verifier, err := note.GenerateKey(rand.Reader, name)
	return map[string]string{"skey": signer, "vkey": verifier}, err
}

// history is a log in memory: its stored hashes, by golang.org/x/mod.
type history struct {
	hashes []tlog.Hash
	size   int64
}

func newHistory(size int64, text string) (*history, error) {
	h := &history{}
	for h.size < size {
		stored, err := tlog.StoredHashes(h.size, fmt.Appendf(nil, "%s %d", text, h.size), h)
		if err != nil {
			return nil, err
		}
		h.hashes = append(h.hashes, stored...)
		h.size++
	}
	return h, nil
}

func (h *history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		found = append(found, h.hashes[index])
	}
	return found, nil
}

// request is a body of add-checkpoint: the checkpoint of that size with a proof from the old one.
func (h *history) request(old, proved, size int64, signer note.Signer) ([]byte, []byte, error) {
	root, err := tlog.TreeHash(size, h)
	if err != nil {
		return nil, nil, err
	}
	text := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: size, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, nil, err
	}
	var steps tlog.TreeProof
	if proved > 0 && proved < size {
		if steps, err = tlog.ProveTree(size, proved, h); err != nil {
			return nil, nil, err
		}
	}
	body := fmt.Appendf(nil, "old %d\n", old)
	for _, hash := range steps {
		body = fmt.Appendf(body, "%s\n", base64.StdEncoding.EncodeToString(hash[:]))
	}
	return append(append(body, '\n'), signed...), signed, nil
}

// askWitness plays a log that grows, forgets what the witness has, and forks.
func askWitness(url, vkeys, skey string) (map[string]int, error) {
	witness, err := parseKeys(vkeys)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	strangerKey, _, err := note.GenerateKey(rand.Reader, signer.Name())
	if err != nil {
		return nil, err
	}
	stranger, err := note.NewSigner(strangerKey)
	if err != nil {
		return nil, err
	}
	unwatchedKey, _, err := note.GenerateKey(rand.Reader, "unwatched.example/log")
	if err != nil {
		return nil, err
	}
	unwatched, err := note.NewSigner(unwatchedKey)
	if err != nil {
		return nil, err
	}
	honest, err := newHistory(1000, "honest")
	if err != nil {
		return nil, err
	}
	forked, err := newHistory(1000, "forked")
	if err != nil {
		return nil, err
	}
	steps := []struct {
		what              string
		log               *history
		old, proved, size int64
		signer            note.Signer
		status            int
		body              string // of a 409
	}{
		{"a log begins", honest, 0, 0, 5, signer, 200, ""},
		{"it grows", honest, 5, 5, 700, signer, 200, ""},
		{"it stays", honest, 700, 700, 700, signer, 200, ""},
		{"it forgot what the witness has", honest, 5, 5, 900, signer, 409, "700\n"},
		{"a proof from elsewhere", honest, 700, 5, 900, signer, 422, ""},
		{"a fork", forked, 700, 700, 900, signer, 422, ""},
		{"a fork of the same size", forked, 700, 700, 700, signer, 422, ""},
		{"older than it says itself", honest, 900, 900, 700, signer, 400, ""},
		{"a key that is not known", honest, 700, 700, 900, stranger, 403, ""},
		{"a log that is not watched", honest, 0, 0, 900, unwatched, 404, ""},
		{"it goes on", honest, 700, 700, 1000, signer, 200, ""},
	}
	answers := map[string]int{}
	for _, step := range steps {
		body, signed, err := step.log.request(step.old, step.proved, step.size, step.signer)
		if err != nil {
			return nil, err
		}
		status, media, answer, err := addCheckpoint(url, body)
		if err != nil {
			return nil, err
		}
		if status != step.status {
			return nil, fmt.Errorf("%s: %d instead of %d: %s", step.what, status, step.status, answer)
		}
		answers[step.what] = status
		switch status {
		case http.StatusOK:
			opened, err := note.Open(append(signed, answer...), witness.known)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", step.what, err)
			}
			if len(opened.Sigs) != len(strings.Fields(vkeys)) {
				return nil, fmt.Errorf("%s: %d cosignatures", step.what, len(opened.Sigs))
			}
		case http.StatusConflict:
			if media != "text/x.tlog.size" || string(answer) != step.body {
				return nil, fmt.Errorf("%s: %q of type %s", step.what, answer, media)
			}
		}
	}
	status, _, _, err := addCheckpoint(url, []byte("old five\n\n"))
	if err == nil && status != http.StatusBadRequest {
		err = errors.New("what cannot be read was answered otherwise than with 400")
	}
	return answers, err
}

func addCheckpoint(url string, body []byte) (status int, media string, answer []byte, err error) {
	response, err := http.Post(url+"/add-checkpoint", "text/plain; charset=utf-8", bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Content-Type"), answer, err
}
