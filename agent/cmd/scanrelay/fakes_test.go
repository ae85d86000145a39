package main

import (
	"sync"

	"scanrelay/wechat/fake"
)

// fakes holds the simulated WeChat of each script by the script's name.
var fakes fakeMap

type fakeMap struct{ m sync.Map }

func (f *fakeMap) Store(name string, s *fake.Server) { f.m.Store(name, s) }

func (f *fakeMap) Load(name string) *fake.Server {
	v, ok := f.m.Load(name)
	if !ok {
		panic("the script has no wechat")
	}
	return v.(*fake.Server)
}
