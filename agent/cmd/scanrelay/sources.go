package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"scanrelay/agent"
	"scanrelay/configs"
	"scanrelay/store/durable"
)

// sourceFiles writes mappings of the depot page into data_dir's sources.d.
type sourceFiles struct {
	app     *app
	file    string // the configuration
	dataDir string // in use
	agent   *agent.Agent
	logger  *slog.Logger
}

// Draft reads the configuration as it would be with a mapping.
func (s *sourceFiles) Draft(name string, text []byte) configs.Draft {
	s.app.reloading.Lock()
	defer s.app.reloading.Unlock()
	return s.draft(name, text)
}

// draft is Draft; the caller holds reloading. What the centre gave stays on trial.
func (s *sourceFiles) draft(name string, text []byte) configs.Draft {
	return configs.DraftAgent(s.file, s.app.Env, name, text, s.app.given...)
}

// Save writes a mapping and puts it in use by the reload that SIGHUP does, or leaves all
// as it is.
func (s *sourceFiles) Save(name string, text []byte) (configs.Draft, error) {
	s.app.reloading.Lock()
	defer s.app.reloading.Unlock()
	d := s.draft(name, text)
	switch {
	case d.Problems.Failed():
		return d, nil
	case d.Agent.DataDir != s.dataDir:
		return d, errors.New("data_dir was changed in the configuration: restart the agent first")
	}
	dir := filepath.Join(s.dataDir, configs.SourcesDir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return d, fmt.Errorf("save mapping: %w", err)
	}
	path := filepath.Join(dir, name+".yaml")
	before, err := os.ReadFile(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return d, fmt.Errorf("save mapping: %w", err)
	}
	if err = durable.Create(path, text); err == nil {
		err = s.app.apply(s.agent, s.file, d.Agent, d.Problems, s.logger)
	} else {
		return d, fmt.Errorf("save mapping: %w", err)
	}
	if err != nil && fresh {
		return d, errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return d, errors.Join(err, durable.Create(path, before))
	}
	s.logger.Info("mapping saved by an operator", "file", path, "sources", len(d.Own))
	return d, nil
}
