# Forwards to the scripts and to CMake, so that the usual words work.
.PHONY: all build demo test soak format lint clean

all: build

build:
	./scripts/build.sh

demo:
	./scripts/demo.sh

test:
	./scripts/test.sh

soak:
	./scripts/soak.sh

format:
	./scripts/format.sh

lint:
	./scripts/lint.sh

clean:
	rm -rf build build-*
