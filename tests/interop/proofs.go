package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"filippo.io/torchwood"
	tlogproof "github.com/transparency-dev/formats/proof"
	policy "github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// What the HTTP API proves, checked with transparency-dev's merkle and formats.

// checkWitness asks transparency-dev's witness policy for the cosignature, and torchwood for its time.
func (s *served) checkWitness(ctx context.Context) ([]string, error) {
	raw, err := s.fetcher.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	one, err := policy.New(s.keys.lastWitness, &url.URL{})
	if err != nil {
		return nil, err
	}
	if !policy.NewGroup(1, one).Satisfied(raw) {
		return nil, unverified("%s did not cosign it", one.Key.Name())
	}
	var names []string
	for _, signature := range s.signatures {
		if signature.Name == s.log.Origin {
			continue
		}
		made, err := torchwood.CosignatureTimestamp(signature)
		if age := time.Since(time.Unix(made, 0)); err != nil || age < -time.Minute || age > time.Hour {
			return nil, tampered("%s cosigned at %d: %w", signature.Name, made, err)
		}
		names = append(names, signature.Name)
	}
	return names, nil
}

// checkConsistencyProofs asks for proofs between sizes of every kind, and from each older signed checkpoint on.
func (s *served) checkConsistencyProofs(older []int64) (int, error) {
	newest := s.checkpoint.N
	pairs := [][2]int64{{0, newest}, {1, newest}, {255, 256}, {256, newest}, {newest - 1, newest}, {newest, newest}}
	for _, size := range older {
		pairs = append(pairs, [2]int64{size, newest})
	}
	for _, pair := range pairs {
		if err := s.checkConsistency(uint64(pair[0]), uint64(pair[1])); err != nil {
			return 0, fmt.Errorf("from %d to %d: %w", pair[0], pair[1], err)
		}
	}
	return len(pairs), nil
}

func (s *served) checkConsistency(from, to uint64) error {
	var answer struct {
		Origin     string   `json:"origin"`
		First      uint64   `json:"first"`
		Second     uint64   `json:"second"`
		FirstRoot  []byte   `json:"first_root"`
		SecondRoot []byte   `json:"second_root"`
		Proof      [][]byte `json:"proof"`
	}
	where := fmt.Sprintf("%s/integrity/consistency?log=%d&partition=%d&from=%d&to=%d",
		s.server, s.log.Log, s.log.Partition, from, to)
	if err := getJSON(where, &answer); err != nil {
		return err
	}
	if answer.Origin != s.log.Origin || answer.First != from || answer.Second != to {
		return tampered("an answer to another question")
	}
	if to == uint64(s.checkpoint.N) && string(answer.SecondRoot) != string(s.checkpoint.Hash[:]) {
		return tampered("another root than was signed")
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, from, to, answer.Proof, answer.FirstRoot, answer.SecondRoot)
	if err != nil {
		return tampered("%w", err)
	}
	return nil
}

// checkReceipts fetches receipts of some events, and reads them with transparency-dev's formats too.
func (s *served) checkReceipts() (int, error) {
	var page struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := getJSON(s.server+"/events?limit=5", &page); err != nil {
		return 0, err
	}
	for _, shown := range page.Events {
		var event struct {
			ID     string `json:"id"`
			Tenant string `json:"tenant_id"`
		}
		if err := json.Unmarshal(shown, &event); err != nil {
			return 0, err
		}
		raw, err := get(s.server + "/events/" + url.PathEscape(event.ID) + "/proof?tenant_id=" + url.QueryEscape(event.Tenant))
		if err != nil {
			return 0, err
		}
		if err := s.checkPublicProof(raw); err != nil {
			return 0, fmt.Errorf("%s: %w", event.ID, err)
		}
		if _, err := checkReceipt(raw, s.keys); err != nil {
			return 0, fmt.Errorf("%s: %w", event.ID, err)
		}
	}
	return len(page.Events), nil
}

func (s *served) checkPublicProof(raw []byte) error {
	var receipt tlogproof.TLogProof
	if err := receipt.Unmarshal(raw); err != nil {
		return err
	}
	if string(receipt.Marshal()) != string(raw) {
		return tampered("a proof that its own reader writes otherwise")
	}
	checkpoint, _, err := openCheckpoint(receipt.Checkpoint, s.keys)
	if err != nil {
		return err
	}
	var hashes [][]byte
	for _, hash := range receipt.Hashes {
		hashes = append(hashes, hash[:])
	}
	return included(receipt.Index, uint64(checkpoint.N), receipt.ExtraData, hashes, checkpoint.Hash[:])
}
