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

// image is what one is made of. There is no registry to pull from: the pause image, which holds a pod's namespaces, and the one with a
// shell, with which the chart's test runs, are made here.
type image struct {
	name     string
	programs []string // go to /bin; the first is what runs
	links    []string // other names of the first, in /bin
}

// write writes it in the form that `docker save` has.
func (i image) write(path string) error {
	entries := []entry{}
	for _, program := range i.programs {
		content, err := os.ReadFile(program)
		if err != nil {
			return err
		}
		entries = append(entries, entry{name: "bin/" + filepath.Base(program), mode: 0o755, content: content})
	}
	first := filepath.Base(i.programs[0])
	for _, link := range i.links {
		entries = append(entries, entry{name: "bin/" + link, link: first})
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, entries); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/bin/" + first}, "User": "65535:65535"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer.Bytes()))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{i.name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = writeTar(file, []entry{
		{name: "manifest.json", mode: 0o644, content: manifest},
		{name: "config.json", mode: 0o644, content: config},
		{name: "layer.tar", mode: 0o644, content: layer.Bytes()},
	})
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// entry is a file of an archive, or a link.
type entry struct {
	name    string
	mode    int64
	content []byte
	link    string
}

func writeTar(to io.Writer, entries []entry) error {
	w := tar.NewWriter(to)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg}
		if e.link != "" {
			header.Typeflag, header.Linkname = tar.TypeSymlink, e.link
		}
		if err := w.WriteHeader(header); err != nil {
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
