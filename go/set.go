package steptime

import (
	"fmt"
	"sort"
	"strings"
)

// A Set is a folder of artifacts whose manifest has been checked. Its model files are read,
// and their hashes checked, when a model is asked for.
type Set struct {
	dir       string
	synthetic bool
	inputs    []uint8
	artifacts []artifactFile
	names     map[string]int // ids and aliases in lower case
}

// A Score says how wrong a model was on rows it had not been trained on, in percent; NaN
// where it could not be said.
type Score struct {
	Scheme, Holdout  string
	Rows             int
	MAPE, MSPE, WAPE float64
}

// An Entry is one artifact of a set, as its manifest describes it.
type Entry struct {
	ID, Model, GPU, Engine, TP string
	Aliases                    []string
	Target                     string
	Trees                      int
	HeldOut                    []Score
}

// Load reads the manifest of the artifact set in a folder.
func Load(dir string) (*Set, error) {
	path, err := inside(dir, "manifest.json")
	if err != nil {
		return nil, fmt.Errorf("%s is no set of artifacts: %w", dir, err)
	}
	text, err := readRegular(path, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("%s is no set of artifacts: %w", dir, err)
	}
	set, err := newSet(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	set.dir = dir
	return set, nil
}

func newSet(text []byte) (*Set, error) {
	file, err := readManifest(text)
	if err != nil {
		return nil, err
	}
	inputs, err := inputOrder(file.Inputs)
	if err != nil {
		return nil, err
	}
	set := &Set{
		synthetic: file.Synthetic,
		inputs:    inputs,
		artifacts: file.Artifacts,
		names:     make(map[string]int),
	}
	for i := range file.Artifacts {
		artifact := &file.Artifacts[i]
		if err := artifact.check(); err != nil {
			return nil, fmt.Errorf("artifact %.80q: %w", artifact.ID, err)
		}
		for _, name := range append([]string{artifact.ID}, artifact.Aliases...) {
			key := lower(name)
			if other, taken := set.names[key]; taken && other != i {
				return nil, fmt.Errorf("manifest.json gives the name %.80q to two artifacts, %.80q and "+
					"%.80q; export the set again", name, file.Artifacts[other].ID, artifact.ID)
			}
			set.names[key] = i
		}
	}
	return set, nil
}

// Synthetic tells whether the models were trained on made-up rows.
func (s *Set) Synthetic() bool { return s.synthetic }

// Entries lists what the set holds, in its own order.
func (s *Set) Entries() []Entry {
	entries := make([]Entry, 0, len(s.artifacts))
	for i := range s.artifacts {
		entries = append(entries, s.artifacts[i].entry())
	}
	return entries
}

func (a *artifactFile) entry() Entry {
	entry := Entry{
		ID: a.ID, Model: a.Model, GPU: a.GPU, Engine: a.Engine, TP: a.TP.String(),
		Aliases: a.Aliases, Target: a.Target, Trees: a.Trees,
	}
	for _, s := range a.HeldOut {
		entry.HeldOut = append(entry.HeldOut, Score{
			s.Scheme, s.Holdout, s.Rows, float64(s.MAPE), float64(s.MSPE), float64(s.WAPE),
		})
	}
	return entry
}

// An Option changes what a model does where it has no good answer.
type Option func(*options)

type options struct {
	onMiss      *[3]float64
	outOfDomain bool
}

// BlackboxOnMiss answers for a model that the set does not hold with BLIS's blackbox formula:
// beta[0] + beta[1] * prefill tokens + beta[2] * decode tokens, in us.
func BlackboxOnMiss(beta [3]float64) Option {
	return func(o *options) { o.onMiss = &beta }
}

// BlackboxOutOfDomain answers with the artifact's own blackbox coefficients for steps outside
// its trained ranges, where trees are flat and a line is not.
func BlackboxOutOfDomain() Option {
	return func(o *options) { o.outOfDomain = true }
}

// Model reads the artifact of that id or alias; upper and lower case are one. It costs tens
// of milliseconds: keep what it returns.
func (s *Set) Model(name string, opts ...Option) (*Model, error) {
	var chosen options
	for _, option := range opts {
		option(&chosen)
	}
	i, found := s.find(name)
	if !found && chosen.onMiss != nil {
		return lineModel(name, *chosen.onMiss)
	}
	if !found {
		return nil, s.miss(name)
	}
	artifact := &s.artifacts[i]
	model, err := s.open(artifact)
	if err != nil {
		return nil, fmt.Errorf("%s: artifact %q: %w", s.dir, artifact.ID, err)
	}
	if chosen.outOfDomain {
		if model.line == nil {
			return nil, fmt.Errorf("%s: artifact %q has no blackbox coefficients to fall back to",
				s.dir, artifact.ID)
		}
		model.leaveDomain = true
	}
	return model, nil
}

// find returns the artifact of that id or alias, or whose alias is the part behind the last
// slash: simulators ask for "meta-llama/llama-2-70b-hf".
func (s *Set) find(name string) (int, bool) {
	wanted := lower(name)
	i, found := s.names[wanted]
	if !found {
		i, found = s.names[wanted[strings.LastIndexByte(wanted, '/')+1:]]
	}
	return i, found
}

// miss says that a name is unknown, and what was meant or can be had.
func (s *Set) miss(name string) error {
	wanted := lower(name)
	var ids, configurations []string
	for i := range s.artifacts {
		ids = append(ids, s.artifacts[i].ID)
		if lower(s.artifacts[i].Model) == wanted {
			configurations = append(configurations, s.artifacts[i].ID)
		}
	}
	if len(configurations) > 0 {
		return fmt.Errorf("%s: %q does not say which configuration; ask for one of %s",
			s.dir, name, strings.Join(configurations, ", "))
	}
	hint := ""
	if near := s.nearest(wanted); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	const most = 20
	rest := ""
	if len(ids) > most {
		rest = fmt.Sprintf(" and %d more", len(ids)-most)
		ids = ids[:most]
	}
	return fmt.Errorf("%s holds no model %.80q%s; it has %s%s",
		s.dir, name, hint, strings.Join(ids, ", "), rest)
}

// nearest returns the known name that is nearest to a wanted one, if any is near.
func (s *Set) nearest(wanted string) string {
	if len(wanted) > 200 {
		return ""
	}
	names := make([]string, 0, len(s.names))
	for name := range s.names {
		names = append(names, name)
	}
	sort.Strings(names)
	best, limit := "", 2+len(wanted)/3
	for _, name := range names {
		if changes := distance(wanted, name, limit); changes < limit {
			best, limit = name, changes
		}
	}
	return best
}

// distance returns how many letters must be changed, added or taken away to make b of a;
// `enough` where it is at least that.
func distance(a, b string, enough int) int {
	if gap := len(a) - len(b); gap >= enough || -gap >= enough {
		return enough
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		corner := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			changed := corner
			if a[i-1] != b[j-1] {
				changed++
			}
			corner = row[j]
			row[j] = least(changed, least(row[j], row[j-1])+1)
		}
	}
	return least(row[len(b)], enough)
}

// lower is how names are compared.
func lower(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func least(a, b int) int {
	if a < b {
		return a
	}
	return b
}
