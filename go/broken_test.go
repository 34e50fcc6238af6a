package steptime

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copied returns a copy of the handmade set that a test may damage.
func copied(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.Walk(handmade, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(handmade, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// edit replaces a text in a file, which must be there.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), from) {
		t.Fatalf("%s has no %q", path, from)
	}
	edited := strings.Replace(string(content), from, to, 1)
	if err := os.WriteFile(path, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answer loads a set, opens its first model and verifies it.
func answer(dir string) error {
	set, err := Load(dir)
	if err != nil {
		return err
	}
	_, err = set.Verify("made-log")
	return err
}

func TestBrokenSetsAreRefusedInOneLine(t *testing.T) {
	in := func(name, from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { edit(t, filepath.Join(dir, name), from, to) }
	}
	manifest := func(from, to string) func(*testing.T, string) { return in("manifest.json", from, to) }
	link := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := os.Rename(path, path+".real"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Base(path)+".real", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, broken := range map[string]struct {
		damage func(*testing.T, string)
		says   string
	}{
		"no manifest":         {gone("manifest.json"), `is no set of artifacts: "manifest.json": no such file`},
		"empty manifest":      {empty("manifest.json"), "is damaged"},
		"cut manifest":        {cut("manifest.json"), "is damaged"},
		"newer schema":        {manifest(`"schema": 1`, `"schema": 2`), "schema 2, and this reader reads 1"},
		"no schema":           {manifest(`"schema": 1,`, ``), "no set of step-time artifacts"},
		"other kind":          {manifest(`gpucv-steptime`, `gpucv-run`), "no set of step-time artifacts"},
		"unknown input":       {manifest(`"kv.tokens_max",`, `"kv.blocks",`), `input "kv.blocks"`},
		"input twice":         {manifest(`"kv.tokens_max",`, `"kv.tokens_sum",`), "twice"},
		"unknown operation":   {manifest(`"floor"`, `"tanh"`), `"tanh" is none`},
		"register ahead":      {manifest("\"isnan\",\n      0", "\"isnan\",\n      13"), "reads register 13 of 13"},
		"negative register":   {manifest("\"isnan\",\n      0", "\"isnan\",\n      -1"), "reads register -1"},
		"feature register":    {manifest(`"register": 14`, `"register": 140`), "is register 140 of"},
		"reference register":  {manifest(`"reference": 32`, `"reference": 320`), "register 320 of"},
		"other transform":     {manifest(`"utilisation"`, `"cube"`), `transform "cube"`},
		"other unit":          {manifest(`"unit": "us"`, `"unit": "ms"`), `unit is "ms"`},
		"other base_score":    {manifest(`"base_score": `, `"base_score": 1`), "has base_score"},
		"other trees":         {manifest(`"trees": 11`, `"trees": 12`), "has 11 trees"},
		"smearing 0":          {manifest(`"smearing": 1.01`, `"smearing": 0`), "smearing is 0"},
		"no smearing":         {manifest(`"smearing": 1.01,`, ``), "smearing is missing"},
		"text for a number":   {manifest(`"trees": 11`, `"trees": "eleven"`), "cannot unmarshal string"},
		"huge number":         {manifest(`"smearing": 1.01`, `"smearing": 1e999`), "cannot unmarshal number"},
		"range upside down":   {manifest(`2000.0`, `-2.0`), "has the range [0 -2]"},
		"alias of two":        {manifest(`"made/raw"`, `"made-log"`), "to two artifacts"},
		"path leaves":         {manifest(`models/0001.json`, `../0001.json`), "leaves the set's folder"},
		"path is absolute":    {manifest(`models/0001.json`, `/etc/passwd`), "leaves the set's folder"},
		"path with backslash": {manifest(`models/0001.json`, `models\\0001.json`), "leaves the set's folder"},
		"path is a folder":    {manifest(`models/0001.json`, `models`), "no regular file"},
		"wrong hash":          {manifest(`"sha256": "`, `"sha256": "0`), "SHA-256"},
		"wrong size":          {manifest(`"bytes": `, `"bytes": 1`), "bytes, and the manifest says"},
		"no model file":       {gone("models/0001.json"), "no such file"},
		"cut model file":      {cut("models/0001.json"), "bytes, and the manifest says"},
		"edited model file":   {in("models/0001.json", `"version":[3`, `"version":[4`), "SHA-256"},
		"edited binary model": {cut("models/0001.ubj"), "0001.ubj has"},
		"edited golden rows":  {in("golden/0001.json", `"us"`, `"uS"`), "SHA-256"},
		"linked model file":   {link("models/0001.json"), "a link"},
		"linked folder":       {link("models"), "a link"},
		"linked manifest":     {link("manifest.json"), "a link"},
		"models swapped":      {swapped, "SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t)
			broken.damage(t, dir)
			err := answer(dir)
			if err == nil || !strings.Contains(err.Error(), broken.says) {
				t.Fatalf("%v does not say %q", err, broken.says)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

func gone(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func empty(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Truncate(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func cut(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		found, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, found.Size()/2); err != nil {
			t.Fatal(err)
		}
	}
}

func swapped(t *testing.T, dir string) {
	one, two := filepath.Join(dir, "models/0001.json"), filepath.Join(dir, "models/0002.json")
	for _, move := range [][2]string{{one, one + "x"}, {two, one}, {one + "x", two}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	// Sizes differ as well, and would be told first.
	edit(t, filepath.Join(dir, "manifest.json"), `"bytes": `, `"was": `)
}

// A set whose hashes are right and whose golden rows are wrong was written by another model.
func TestVerifyTellsAWrongAnswer(t *testing.T) {
	for _, wrong := range [][2]string{
		{`"us": [20`, `"us": [21`}, {`"margins": [`, `"margins": [1`}, {`"values": [2`, `"values": [3`},
		{`"features": [[0.0`, `"features": [[0.5`}, {`"us": [20, `, `"us": [`},
	} {
		dir := copied(t)
		path := filepath.Join(dir, "golden/0001.json")
		before := hashOf(t, path)
		edit(t, path, wrong[0], wrong[1])
		edit(t, filepath.Join(dir, "manifest.json"), before, hashOf(t, path))
		content, _ := os.ReadFile(filepath.Join(dir, "manifest.json"))
		// The golden file's size comes after its hash's neighbours; leave sizes out of it.
		bare := strings.ReplaceAll(string(content), `"bytes"`, `"size"`)
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(bare), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := answer(dir); err == nil || !strings.Contains(err.Error(), "golden/0001.json") {
			t.Errorf("%q for %q gave %v", wrong[1], wrong[0], err)
		}
	}
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
