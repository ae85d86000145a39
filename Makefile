# scanrelay: `make help` lists what there is.
#
# Building needs Go and make, nothing else. `make test` installs what the tests
# need beside them (build/setup-tests.sh) or says what is missing.

.DEFAULT_GOAL := help
.PHONY: help build demo quick test soak setup cross packages release size bench bench-peers fuzz clean

# What the binary says about itself comes from the commit and not from the
# clock or the folder, so that the same commit gives the same bytes anywhere.
# The version is that of build/VERSION where the commit has its tag, else a dev
# version on the way to it.
VERSION ?= $(shell build/version.sh)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE    ?= $(shell TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo unknown)

MAIN    := ./agent/cmd/scanrelay
BIN     := build/bin/scanrelay
DIST    := build/dist
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

export GOWORK  := off
# Binaries and tests are compiled alike, so that each package is once.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath

GOBUILD = CGO_ENABLED=0 go build -ldflags '$(strip $(LDFLAGS) $(PADDING))'

# The machines that depots have, as arch or arch/GOARM.
TARGETS := arm/6 arm/7 arm64 amd64 riscv64
# The gateway build leaves out central and demo, and HTTP/2: 0.46 MB for what a few
# kept connections do as well. It has two limits: its size, which costs flash, and
# its size under xz -9, which costs the line that brings an update.
# What runs at a start, at a handshake, once for a read or write of a connection or
# because a person asks is compiled there without inlining: 0.65 MB, and no scan is
# slower for it. The curves' and RSA's arithmetic is not among it.
COLD    := scanrelay/agent/cmd/... scanrelay/agent/control/... scanrelay/agent/update/... \
	scanrelay/agent/remote scanrelay/configs github.com/goccy/go-yaml/... \
	text/template/... crypto/tls crypto/x509 encoding/asn1 math/big vendor/golang.org/x/net/... \
	net crypto/ecdh crypto/ecdsa crypto/ed25519 crypto/rsa $(addprefix crypto/internal/fips140/,ecdsa ed25519 rsa)
GATEWAY := -tags gateway,nethttpomithttp2 $(COLD:%=-gcflags=%=-l)
# The linker pads for pages of 64 KiB. Kernels that run 32-bit ARM programs have
# pages of 4, on some 64-bit boards 16.
cross/full/arm/% cross/gateway/arm/% size: PADDING := -R 16384
GATEWAY_LIMIT := 12500000
GATEWAY_XZ_LIMIT := 3800000

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' Makefile

build: ## build build/bin/scanrelay for this machine
	@$(GOBUILD) -o $(BIN) $(MAIN)

demo: build ## everything on this machine; make demo DEMO_ARGS="--duration 20s"
	@$(BIN) demo $(DEMO_ARGS)

setup: ## install what the tests need (Debian, Ubuntu), or say what is missing
	@build/setup-tests.sh

quick: ## format, vet, staticcheck, tests of what changed: under two minutes; make quick SINCE=HEAD~3
	@build/quick.sh

test: ## all checks and tests; what .ci/run calls
	@build/test.sh

soak: ## each package's tests 20 times with the race detector, half beside a busy machine; make soak SOAK_ARGS="-n 4 ./agent/..."
	@build/soak.sh $(SOAK_ARGS)

# BUILDS=full leaves the gateway builds out: the tests build one of them anyway.
BUILDS ?= full gateway

cross: $(foreach t,$(TARGETS),$(BUILDS:%=cross/%/$t)) ## build for all machines, full and gateway, into build/dist

# cross/full/arm/7 and the like.
CROSS = name=linux-$(subst arm/,armv,$*); export GOOS=linux GOARCH=$(firstword $(subst /, ,$*)) GOARM=$(word 2,$(subst /, ,$*));

cross/full/%:
	@$(CROSS) $(GOBUILD) -o $(DIST)/scanrelay-$$name $(MAIN)

cross/gateway/%:
	@$(CROSS) $(GOBUILD) $(GATEWAY) -o $(DIST)/scanrelay-gateway-$$name $(MAIN)

# The centre's own program of this machine prints the manual page and completions of
# the centre's package, a gateway build those of the agent's.
packages: cross ## Debian packages, archives with install.sh, SBOMs, checksums, into build/dist
	@$(GOBUILD) -o build/bin/says-central $(MAIN)
	@$(GOBUILD) $(GATEWAY) -o build/bin/says-agent $(MAIN)
	@cd build/packaging/packages && go run . -version '$(VERSION)' -date '$(DATE)'

# Which machines, where bundles go, and from how many releases before deltas are made.
release: MACHINES ?= $(TARGETS)
release: BUNDLES ?= $(DIST)/bundles
release: DELTAS ?= 2
release: ## programs, deltas, signatures, bundles; make release RELEASES=DIR KEYS=DIR PASSPHRASE_FILE=FILE
	@RELEASES='$(RELEASES)' VERSION='$(VERSION)' KEYS='$(KEYS)' PASSPHRASE_FILE='$(PASSPHRASE_FILE)' \
		MACHINES='$(MACHINES)' BUNDLES='$(BUNDLES)' DELTAS='$(DELTAS)' ADD='$(ADD)' build/release.sh

size: ## what the gateway binary weighs, plain and under xz -9; fails above either limit
	@GOOS=linux GOARCH=arm GOARM=7 $(GOBUILD) $(GATEWAY) -o $(DIST)/scanrelay-gateway-linux-armv7 $(MAIN)
	@GOOS=linux GOARCH=arm GOARM=7 CGO_ENABLED=0 go build $(GATEWAY) -o build/cache/gateway-symbols $(MAIN)
	@go run ./build/size -limit $(GATEWAY_LIMIT) -xz-limit $(GATEWAY_XZ_LIMIT) -symbols build/cache/gateway-symbols \
		$(DIST)/scanrelay-gateway-linux-armv7 $(wildcard $(DIST)/scanrelay-*)

bench: build ## how fast and how light it is here; make bench BENCH_ARGS="-events 50000"
	@go run ./build/bench -binary $(BIN) $(BENCH_ARGS)
	@cd build/bench/crypt && go run .

bench-peers: build ## MQTT to POST beside programs that others take for it, which lie in DIR: make bench-peers DIR=/opt/peers
	@go run ./build/bench -binary $(BIN) -only sink -peers '$(DIR)' $(BENCH_ARGS)

fuzz: ## every fuzz target for a minute each; make fuzz FUZZTIME=10s
	@build/fuzz.sh

clean: ## remove what was built
	@rm -rf build/bin build/dist build/cache
