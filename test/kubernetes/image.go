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

// writeImage writes an image of one static program in the form that `docker save` has. The pause image, which holds a
// pod's namespaces, is made in this way: there is no registry to pull it from.
func writeImage(path, name, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	file := filepath.Base(program)
	var layer bytes.Buffer
	if err := writeTar(&layer, map[string][]byte{file: content}); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + file}, "User": "65535:65535"},
		"rootfs": map[string]any{
			"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))},
		},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(
		[]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	err = writeTar(
		&archive, map[string][]byte{"manifest.json": manifest, "config.json": config, "layer.tar": layer.Bytes()})
	if err != nil {
		return err
	}
	return os.WriteFile(path, archive.Bytes(), 0o644)
}

func writeTar(to io.Writer, files map[string][]byte) error {
	w := tar.NewWriter(to)
	for name, content := range files {
		head := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
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
