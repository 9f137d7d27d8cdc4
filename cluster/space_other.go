//go:build !linux

package cluster

import "errors"

func measureSpace(string) (fileSystem, error) { return fileSystem{}, errors.ErrUnsupported }
