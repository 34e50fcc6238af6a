package steptime

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxManifest = 64 << 20
	maxFile     = 512 << 20
)

// fileRef is a file as the manifest names it.
type fileRef struct {
	Path   string `json:"path"`
	Bytes  *int64 `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// read returns a file's content once it is known to be what the manifest says it is.
func (r *fileRef) read(dir string) ([]byte, error) {
	path, err := inside(dir, r.Path)
	if err != nil {
		return nil, fmt.Errorf("%w; export the set again", err)
	}
	content, err := readRegular(path, maxFile)
	if err != nil {
		return nil, err
	}
	if r.Bytes != nil && *r.Bytes != int64(len(content)) {
		return nil, fmt.Errorf("%s has %d bytes, and the manifest says %d; export the set again",
			r.Path, len(content), *r.Bytes)
	}
	sum := sha256.Sum256(content)
	if found := hex.EncodeToString(sum[:]); found != r.SHA256 {
		return nil, fmt.Errorf("%s has SHA-256 %s, and the manifest says %.64q; export the set again",
			r.Path, found, r.SHA256)
	}
	return content, nil
}

// inside returns the path of a file of the set. Every part of its name is a plain one, and
// none of its folders below the set is a link.
func inside(dir, name string) (string, error) {
	path := dir
	parts := strings.Split(name, "/")
	for i, part := range parts {
		plain := part != "" && part != "." && part != ".." && !strings.ContainsAny(part, "\\:\x00")
		if !plain {
			return "", fmt.Errorf("the manifest names the file %.200q, which leaves the set's folder", name)
		}
		path = filepath.Join(path, part)
		found, err := os.Lstat(path)
		if err != nil {
			return "", fmt.Errorf("%.200q: %v", name, reason(err))
		}
		if last := i == len(parts)-1; last != found.Mode().IsRegular() || !last && !found.IsDir() {
			return "", fmt.Errorf("%.200q is a link or no regular file", name)
		}
	}
	return path, nil
}

// readRegular reads a regular file of at most `limit` bytes.
func readRegular(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %v", path, reason(err))
	}
	defer file.Close()
	found, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %v", path, reason(err))
	}
	if !found.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %v", path, reason(err))
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return content, nil
}

// reason leaves the path out of an error that has been given it already.
func reason(err error) error {
	if at, isPath := err.(*os.PathError); isPath {
		return at.Err
	}
	return err
}
