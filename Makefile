# The targets, each of which installs what it needs and is quick when nothing is missing.

root := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
lint := build/tools/golangci-lint-2.15.0

export CGO_ENABLED ?= 0

.PHONY: help run test build image boot test-image test-image-all same-image bench lint generate fuzz e2e browser clean

help:
	@echo 'make run    a whole network on this machine: client, box, origin; Ctrl-C removes it'
	@echo 'make test   every test; of those of the image the first start only'
	@echo 'make build  build/breakwater'
	@echo 'make bench  both paths next to haproxy and nginx; a table and build/bench.json'
	@echo 'make image  the bootable image, in build/image; make boot starts it in QEMU, without KVM'
	@echo 'make test-image  builds, starts, claims, plays through, updates and breaks the image; less than half an hour'
	@echo 'make test-image-all  every test of the image, more than an hour'
	@echo 'make same-image  the image once more, at another place and from nothing; compares it to the bit'
	@echo 'make lint   style, and the import table'
	@echo 'make generate  the eBPF objects, from their C'
	@echo 'make e2e    the end-to-end tests only'
	@echo 'make browser  the web page in Chromium only; pictures of it in build/screens'
	@echo 'make fuzz   every fuzz target for FUZZTIME (30s)'
	@echo 'make clean  removes build/'

run: build
	@test/tools/setup run
	@exec $(root) build/breakwater lab

build:
	@mkdir -p build
	go build -trimpath -ldflags '-s -w' -o build/breakwater ./cmd/breakwater

test: build
	@test/tools/setup test
	@CGO_ENABLED=1 go run ./test/tally

e2e: build
	@test/tools/setup test
	@CGO_ENABLED=1 go run ./test/tally root e2e

browser: build
	@test/tools/setup test
	@CGO_ENABLED=1 go run ./test/tally browser

bench: build
	@test/tools/setup test
	@$(root) go run ./test/bench

image:
	@$(root) env "PATH=$$PATH" image/build

boot:
	@ls build/image/*.raw >/dev/null 2>&1 || $(MAKE) -s image
	@$(root) image/boot

test-image: image
	@test/tools/units
	@$(root) env "PATH=$$PATH" go test -tags vm -count=1 -timeout 60m -v -run '^Test(NewBox|TaggedEdge|Update|OneBitIsWrong)$$' ./test/vm

test-image-all: image
	@test/tools/units
	@$(root) env "PATH=$$PATH" go test -tags vm -count=1 -timeout 0 -v ./test/vm

same-image: image
	@$(root) env "PATH=$$PATH" test/tools/same

lint: $(lint)
	@$(lint) run

$(lint):
	@mkdir -p build/tools
	@GOBIN=$(CURDIR)/build/tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	@mv build/tools/golangci-lint $@

generate:
	@test/tools/setup generate
	@go generate ./...

fuzz:
	@test/tools/fuzz $(FUZZTIME)

clean:
	rm -rf build
