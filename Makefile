# `make` lists the commands. What they do is in deploy (the system) and scripts.

SHELL   := bash
deploy  := @scripts/deploy.sh
replicas = $(if $(REPLICAS),-replicas $(REPLICAS))
tools   := buf protoc-gen-go protoc-gen-go-grpc protoc-gen-go-errors protoc-gen-openapi sqlc

.PHONY: help
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo        everything up; sign-up, payment, shipment and refund shown in numbers; a second time in seconds, and nothing doubles.
##                  In containers where a Docker engine answers, else natively; NATIVE=1 does without containers
##                  OUTAGE=1 instead kills the broker in the middle of shopping: how events go on, and that each takes effect once
.PHONY: demo
demo:
	$(deploy) demo $(replicas) $(outage)
# OUTAGE is a duration for chaos, which may be in the environment: only the command line's counts here.
outage = $(if $(filter command,$(origin OUTAGE)),$(if $(filter-out 0,$(OUTAGE)),-outage))

## make up          everything up, with members and a catalogue; REPLICAS=2 runs two of each service (of demo too)
## make signup      sign up one more shopper: points, SMS and e-mail by message, timed
## make pay         pay one more order, shown in numbers
## make ship        pay and ship one more
## make refund      pay and refund one more
## make status      what runs, healthy or why not, memory, addresses and logins
## make down        stop exactly what was started; the data stays in var/
.PHONY: up signup pay ship refund status down
up:
	$(deploy) up $(replicas)
signup pay ship refund status down:
	$(deploy) $@

## make logs        follow the logs; SERVICE=order follows one
.PHONY: logs
logs:
	$(deploy) logs $(if $(SERVICE),-service $(SERVICE))

## make generation  in which generation SERVICE=inventory numbers its events; NEW=1 begins one, after its database was restored from a backup
.PHONY: generation
generation:
	$(deploy) generation -data '$(data)' -service '$(SERVICE)' $(if $(filter command,$(origin NEW)),$(if $(NEW),-new))
# DEMO is the file about another stack than the one in var/, whose data folder it is in.
data = $(if $(DEMO),$(patsubst %/,%,$(dir $(DEMO))),var)

## make test        all tests: each part, the coordinator, end to end, and the mutants; may run beside the demo
.PHONY: test
test:
	@scripts/test.sh
	scripts/mutants.sh

## make mutants     break the code on purpose, one mutant after another: each must turn the test it names red
.PHONY: mutants
mutants:
	scripts/mutants.sh

## make chaos       kill every process in the middle of a stream of payments, OUTAGE=60s each, and all of them at once, 20 times
.PHONY: chaos
chaos:
	$(deploy) install
	OUTAGE=$(or $(OUTAGE),60s) KILLS=20 go test -count=1 -v -timeout 90m -run 'TestKillEverything|TestKillAll' ./e2e

## make outages     the broker, Redis, network and processes away in every mode, OUTAGE=60s each
.PHONY: outages
outages:
	$(deploy) install
	OUTAGES=$(or $(OUTAGE),60s) go test -count=1 -v -timeout 90m -parallel 2 ./e2e/outage
	OUTAGE=$(or $(OUTAGE),60s) go test -count=1 -v -timeout 30m -run 'TestBrokerAway$$' ./e2e

## make test-compose    the system in containers, really run: healthy, the demo's numbers, killed and moved containers, nothing left
##                  and with two of each: the master broker killed and frozen under 50 messages a second, nothing lost
.PHONY: test-compose
test-compose:
	@deploy/compose/test.sh

## make bench       measure payments against one local transaction with the same row changes, against XA and DTM as in its examples, and what is
##                  around a payment (sign-ups, orders, pages), on a stack of its own; several minutes. ONLY=payments or ONLY=around leaves the
##                  other out
##                  GROWTH=1 instead measures payments with up to a million orders and armed timers in the tables, up to 25 minutes; fails when
##                  they are slower than 0.85 of those with a thousand, or a query on their path reads a table that grows through
.PHONY: bench
bench:
	@$(deploy) install
	@$(MAKE) --no-print-directory bin/dtm-plain/dtm
	@go build -buildvcs=false -o bin/ ./e2e/cmd/bench
	@bin/bench $(if $(filter command,$(origin ONLY)),-only='$(ONLY)') $(growth)
growth = $(if $(filter command,$(origin GROWTH)),$(if $(filter-out 0,$(GROWTH)),-growth))

bin/dtm-plain/dtm: deploy/dtm/go.mod deploy/dtm/go.sum $(wildcard deploy/dtm/plain/*.sh deploy/dtm/plain/*/*)
	@deploy/dtm/plain/build.sh bin/dtm-plain

## make conserve    check that the books of the running stack add up: if not, the wrong rows and Error 1; Error 2 when it cannot find out
.PHONY: conserve
conserve:
	@go build -buildvcs=false -o bin/ ./e2e/cmd/conserve || exit 2
	@bin/conserve $(demo-file)

## make replay      deliver a topic's past events to one group once more: TOPIC=member-events GROUP=notify-email FROM=2h, up to TO=1h or now
## make resend      send a service's past events again: SERVICE=order SINCE=2h, up to UNTIL=1h or now; TOPIC=order-events: only that topic's
## make settle      where the payment or refund of ORDER=… stands; AS=confirm, AS=cancel or AS=try ends one that the coordinator will not end
## make audits      what each consumer group has of what was sent, and how much had to be sent again
## make mq          which way events go, and what lies in the queues; MODE=DEGRADED WHY="the broker moves" decides, also NORMAL, AUTOMATIC
## make refused     the events that the broker refuses for good; DISCARD=order-17 gives one up
## make position    how far groups are with SUBJECT=…; GROUP=notify-orders SOURCE=/order TO=3 lets one go on after number 3, GENERATION=… of that one
.PHONY: replay resend settle audits mq refused position
replay resend settle audits mq refused position:
	@go build -buildvcs=false -o bin/ ./e2e/cmd/ops || exit 2
	@bin/ops $@ $(demo-file) $(arguments-$@)
arguments-replay = -topic='$(TOPIC)' -group='$(GROUP)' -from='$(FROM)' -to='$(TO)'
arguments-resend = -service='$(SERVICE)' -topic='$(TOPIC)' -since='$(SINCE)' -until='$(UNTIL)'
arguments-mq = -mode='$(if $(filter command,$(origin MODE)),$(MODE))' -why='$(WHY)'
arguments-refused = -discard='$(DISCARD)'
arguments-position = -subject='$(SUBJECT)' -group='$(GROUP)' -source='$(SOURCE)' -generation='$(GENERATION)' -to='$(TO)'
arguments-settle = -order='$(ORDER)' -as='$(if $(filter command,$(origin AS)),$(AS))'
# make has an AS of its own, the assembler, so only one of the command line counts. DEMO is the file about another stack than the one in var/.
demo-file        = $(if $(DEMO),-demo='$(DEMO)')

## make million     how long the books of a million orders take to check; fills a database for minutes, fails above 10 s
.PHONY: million
million:
	$(deploy) install
	go test -timeout 60m -run xxx -bench Million -benchtime 3x ./order/internal/reconcile

## make check       before a commit: format, vet, lint, imports, docs, licences, and the tests that need no server; a minute or two
## make verify      format, vet, lint, generated code fresh, module files tidy, imports, docs, licences
## make vulnerabilities    what is known of the code that ours can reach, of Go's too; says so where the database https://vuln.go.dev is out of reach
## make generate    protos, SQL, OpenAPI
.PHONY: check verify vulnerabilities generate
check: bin/buf bin/golangci-lint
	@scripts/verify.sh quick
vulnerabilities: bin/govulncheck
	@scripts/vulnerabilities.sh
verify: bin/golangci-lint
verify generate: $(addprefix bin/,$(tools))
	@scripts/$@.sh

bin/%: tools/%/go.mod
	scripts/tool.sh $*
