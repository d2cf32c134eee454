# goflags.sh is sourced by the scripts that run tests. With one set of flags for the tests, for the programs that they build, and for the copies
# of the tree that mutants.sh makes, nothing is compiled twice.
GOFLAGS="$(go env GOFLAGS) -trimpath"
export GOFLAGS CGO_ENABLED=0
