package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A served log, read with torchwood's client and the tlog package of golang.org/x/mod.

type publicLog struct {
	Log       uint64   `json:"log"`
	Partition uint64   `json:"partition"`
	Origin    string   `json:"origin"`
	Vkeys     []string `json:"vkeys"`
	Size      int64    `json:"size"`
	URL       string   `json:"url"`
	Genesis   string   `json:"genesis"`
}

type logSummary struct {
	Origin      string           `json:"origin"`
	Size        int64            `json:"size"`
	Entries     map[string]int64 `json:"entries"`
	Older       []int64          `json:"older"`
	Cosigned    []string         `json:"cosigned_by"`
	Consistency int              `json:"consistency_proofs"`
	Receipts    int              `json:"receipts"`
}

// served is one log at a server, with the newest checkpoint that was verified.
type served struct {
	server     string
	log        publicLog
	fetcher    *torchwood.TileFetcher
	client     *torchwood.Client
	keys       keyring
	checkpoint torchwood.Checkpoint
	signatures []note.Signature
}

func checkServedLog(server, vkeys string) (*logSummary, error) {
	ctx := context.Background()
	keys, err := parseKeys(vkeys)
	if err != nil {
		return nil, err
	}
	s, err := openLog(ctx, server, keys)
	if err != nil {
		return nil, err
	}
	summary := &logSummary{Origin: s.checkpoint.Origin, Size: s.checkpoint.N}
	if summary.Cosigned, err = s.checkWitness(ctx); err != nil {
		return nil, err
	}
	if summary.Entries, err = s.readEverything(ctx); err != nil {
		return nil, err
	}
	if err = s.checkTilesOfEachLevel(ctx); err != nil {
		return nil, err
	}
	if summary.Older, err = s.checkOlderCheckpoints(ctx); err != nil {
		return nil, err
	}
	if summary.Consistency, err = s.checkConsistencyProofs(summary.Older); err != nil {
		return nil, err
	}
	summary.Receipts, err = s.checkReceipts()
	return summary, err
}

func openLog(ctx context.Context, server string, keys keyring) (*served, error) {
	var answer struct {
		Logs []publicLog `json:"logs"`
	}
	if err := getJSON(server+"/integrity/logs", &answer); err != nil {
		return nil, err
	}
	if len(answer.Logs) != 1 {
		return nil, fmt.Errorf("one log is served here, not %d", len(answer.Logs))
	}
	s := &served{server: server, log: answer.Logs[0], keys: keys}
	var err error
	if s.fetcher, err = torchwood.NewTileFetcher(server+s.log.URL, torchwood.WithConcurrencyLimit(4)); err != nil {
		return nil, err
	}
	if s.client, err = torchwood.NewClient(s.fetcher); err != nil {
		return nil, err
	}
	raw, err := s.fetcher.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	if s.checkpoint, s.signatures, err = openCheckpoint(raw, keys); err != nil {
		return nil, err
	}
	if s.checkpoint.Origin != s.log.Origin {
		return nil, tampered("the checkpoint is of %s, the log is %s", s.checkpoint.Origin, s.log.Origin)
	}
	return s, nil
}

// readEverything reads each entry through torchwood's client, which checks it against the tree, and the entry's own form.
func (s *served) readEverything(ctx context.Context) (map[string]int64, error) {
	var next int64
	var begun genesis
	kinds := map[string]int64{}
	for next < s.checkpoint.N {
		before := next
		for index, raw := range s.client.Entries(ctx, s.checkpoint.Tree, next) {
			e, err := parseEntry(raw)
			switch {
			case err != nil:
				return nil, tampered("leaf %d: %w", index, err)
			case index != next || (e.kind == genesisEntry) != (index == 0):
				return nil, tampered("leaf %d is not in its place", index)
			case index == 0:
				if begun, err = checkGenesis(s.log.Genesis, e); err != nil {
					return nil, tampered("%w", err)
				}
			case e.offset != begun.base+uint64(index)-1:
				return nil, tampered("leaf %d has offset %d", index, e.offset)
			}
			kinds[[]string{"genesis", "record", "gap"}[e.kind]]++
			next++
		}
		if err := s.client.Err(); err != nil {
			return nil, tampered("%w", err)
		}
		if next == before {
			return nil, fmt.Errorf("the client stopped at %d of %d", next, s.checkpoint.N)
		}
	}
	if begun.origin != s.log.Origin {
		return nil, tampered("the log that began as %s is another one", begun.origin)
	}
	return kinds, s.checkSomeLeaves(ctx)
}

// checkSomeLeaves proves the inclusion of single leaves from tiles alone, in the first, an inner and the last one.
func (s *served) checkSomeLeaves(ctx context.Context) error {
	for _, index := range []int64{0, 1, 255, 256, s.checkpoint.N / 2, s.checkpoint.N - 1} {
		raw, proof, err := s.client.Entry(ctx, s.checkpoint.Tree, index)
		if err != nil {
			return tampered("leaf %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, s.checkpoint.N, s.checkpoint.Hash, index, tlog.RecordHash(raw)); err != nil {
			return tampered("leaf %d: %w", index, err)
		}
	}
	return nil
}

// checkTilesOfEachLevel fetches the first and last tile of each level, full and partial, and each hash in them
// through tlog.TileHashReader, which checks them against the root.
func (s *served) checkTilesOfEachLevel(ctx context.Context) error {
	reader := torchwood.TileHashReaderWithContext(ctx, s.checkpoint.Tree, s.fetcher)
	for level, width := 0, s.checkpoint.N; width > 0; level, width = level+1, width>>torchwood.TileHeight {
		var indexes []int64
		for _, n := range []int64{0, (width - 1) / torchwood.TileWidth} {
			last := min(torchwood.TileWidth, width-n*torchwood.TileWidth)
			tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: int(last)}
			data, err := s.fetcher.ReadTiles(ctx, []tlog.Tile{tile})
			if err != nil || len(data[0]) != int(last)*tlog.HashSize {
				return fmt.Errorf("%s has %d bytes: %w", torchwood.TilePath(tile), len(data[0]), err)
			}
			for i := range last {
				indexes = append(indexes, tlog.StoredHashIndex(level*torchwood.TileHeight, n*torchwood.TileWidth+i))
			}
		}
		if _, err := reader.ReadHashes(indexes); err != nil {
			return tampered("level %d: %w", level, err)
		}
	}
	return nil
}

// checkOlderCheckpoints verifies every earlier signed checkpoint: that this tree grew out of it, and that its own
// partial tiles still give its root.
func (s *served) checkOlderCheckpoints(ctx context.Context) ([]int64, error) {
	var answer struct {
		Checkpoints []struct {
			Size int64  `json:"size"`
			Note string `json:"note"`
		} `json:"checkpoints"`
	}
	query := fmt.Sprintf("/integrity/checkpoints?log=%d&partition=%d&below=%d", s.log.Log, s.log.Partition, s.checkpoint.N)
	if err := getJSON(s.server+query, &answer); err != nil {
		return nil, err
	}
	var sizes []int64
	for _, one := range answer.Checkpoints {
		older, _, err := openCheckpoint([]byte(one.Note), s.keys)
		if errors.Is(err, errUnverified) {
			continue // signed before a key that is trusted was one of the log's
		}
		if err != nil {
			return nil, err
		}
		if older.N != one.Size || older.Origin != s.log.Origin {
			return nil, tampered("the checkpoint of %d is another one", one.Size)
		}
		grown := torchwood.TileHashReaderWithContext(ctx, s.checkpoint.Tree, s.fetcher)
		steps, err := tlog.ProveTree(s.checkpoint.N, older.N, grown)
		if err != nil {
			return nil, tampered("%w", err)
		}
		if err := tlog.CheckTree(steps, s.checkpoint.N, s.checkpoint.Hash, older.N, older.Hash); err != nil {
			return nil, tampered("%d is no beginning of %d: %w", older.N, s.checkpoint.N, err)
		}
		if _, _, err := s.client.Entry(ctx, older.Tree, older.N-1); err != nil {
			return nil, tampered("the last leaf of %d: %w", older.N, err)
		}
		sizes = append(sizes, older.N)
	}
	slices.Sort(sizes)
	return sizes, nil
}

func getJSON(url string, into any) error {
	body, err := get(url)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func get(url string) ([]byte, error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", url, response.Status, body)
	}
	return body, err
}
