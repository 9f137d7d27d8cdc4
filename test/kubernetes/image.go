package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// writeImage writes an image of one static program in the form that `docker save` has. The pause image, which holds a pod's
// namespaces, is made in this way: there is no registry to pull it from.
func writeImage(path, name, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entry := "/" + filepath.Base(program)
	var layer bytes.Buffer
	if err := writeTar(&layer, []entryOf{{strings.TrimPrefix(entry, "/"), 0o755, content}}); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{entry}, "User": "65535:65535"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = writeTar(file, []entryOf{{"manifest.json", 0o644, manifest}, {"config.json", 0o644, config}, {"layer.tar", 0o644, layer.Bytes()}})
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

type entryOf struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(to io.Writer, entries []entryOf) error {
	w := tar.NewWriter(to)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := w.Write(e.content); err != nil {
			return err
		}
	}
	return w.Close()
}

// withTag adds the tag that a name without one means.
func withTag(image string) string {
	if strings.Contains(image[strings.LastIndex(image, "/")+1:], ":") {
		return image
	}
	return image + ":latest"
}
