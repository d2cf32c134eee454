#!/usr/bin/env bash
# build.sh OUTPUT builds the coordinator. DTM's server listens on every address of the machine and has neither a setting for that nor a way to
# stop, so it is compiled from a copy of its module in which HTTP_HOST and GRPC_HOST say where to listen, and package servers keeps track of what
# runs. (go build -overlay would need no copy, but refuses to replace files of the module cache.) A line that is not there exactly once, as in
# another version of DTM, fails the build.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: $0 OUTPUT" >&2; exit 2; }
output=$(realpath -m -- "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"
export GOWORK=off

# The same place for the same output, so that go's build cache recognizes the copy.
copy=$output.src
trap 'rm -rf "$copy"' EXIT
rm -rf "$copy"
mkdir -p "$(dirname "$copy")"
go mod download github.com/dtm-labs/dtm
cp -r "$(go list -m -f '{{.Dir}}' github.com/dtm-labs/dtm)/." "$copy"
chmod -R u+w "$copy"

# edit FILE chooses the file that replace works on; call written when it is done.
edit() { file=$copy/$1 source=$(<"$copy/$1"); }
written() { printf '%s\n' "$source" >"$file"; }

# replace TEXT BY replaces TEXT by BY.
replace() {
  local rest=${source#*"$1"}
  if [[ $rest == "$source" || ${rest#*"$1"} != "$rest" ]]; then
    echo "$0: not exactly once in DTM's ${file#"$copy"/}: $1" >&2
    exit 1
  fi
  source=${source/"$1"/"$2"}
}

edit dtmsvr/svr.go
replace $'\t"net"\n' $'\t"net"\n\t"os"\n'
replace $'\t"google.golang.org/grpc/codes"\n' \
  $'\t"example.com/fourfold/chassis/endpoints"\n\t"example.com/fourfold/chassis/telemetry"\n\t"google.golang.org/grpc/codes"\n'
replace 'grpc.NewServer(' 'grpc.NewServer(grpc.Creds(servers.Credentials), telemetry.Server(), endpoints.AllowKeepAlive(), '
replace 'app.Run(fmt.Sprintf(":%d", conf.HTTPPort))' 'servers.HTTP(app, net.JoinHostPort(os.Getenv("HTTP_HOST"), fmt.Sprint(conf.HTTPPort)))'
replace 'net.Listen("tcp", fmt.Sprintf(":%d", conf.GrpcPort))' \
  'net.Listen("tcp", net.JoinHostPort(os.Getenv("GRPC_HOST"), fmt.Sprint(conf.GrpcPort)))'
# Without its HTTP port the coordinator would go on half alive: it could not be asked about a transaction.
replace 'logger.Errorf("start server err: %v", err)' 'logger.FatalIfError(err)'
replace $'\t"github.com/gin-gonic/gin"\n' $'\t"github.com/gin-gonic/gin"\n\t"example.com/fourfold/deploy/dtm/servers"\n'
replace 's.Serve(lis)' 'servers.GRPC(s, lis)'
written

edit dtmsvr/trans_process.go
replace $'\t"github.com/dtm-labs/logger"\n' $'\t"github.com/dtm-labs/logger"\n\t"example.com/fourfold/deploy/dtm/servers"\n'
replace 'go func(ctx context.Context) {' $'done := servers.Behind()\n\t\tgo func(ctx context.Context) {\n\t\t\tdefer done()'
written

# All branches come with Prepare, Submit may be repeated, Confirms and Cancels run at the same time: dtmsvr/tcc.go and dtmsvr/submit.go.
rm "$copy/dtmsvr/trans_type_tcc.go"
cp dtmsvr/tcc.go dtmsvr/submit.go "$copy/dtmsvr/"
edit dtmsvr/api.go
replace $'func svcPrepare(t *TransGlobal) interface{} {\n\tt.Status = dtmcli.StatusPrepared\n' \
  $'func svcPrepare(t *TransGlobal) interface{} {\n\tt.Status = dtmcli.StatusPrepared\n\tif t.TransType == "tcc" {\n\t\treturn prepareTCC(t)\n\t}\n'
replace $'\tt.Status = dtmcli.StatusSubmitted\n\tbranches, err := t.saveNew()\n' \
  $'\tif t.TransType == "tcc" {\n\t\treturn submitTCC(t)\n\t}\n\tt.Status = dtmcli.StatusSubmitted\n\tbranches, err := t.saveNew()\n'
replace $'\tif transType == "tcc" {\n\t\tfor i, b := range []string{dtmimp.OpCancel, dtmimp.OpConfirm} {\n\t\t\tbranches[i].Op = b\n\t\t\tbranches[i].URL = data[b]\n\t\t}\n' \
  $'\tif transType == "tcc" {\n\t\treturn fmt.Errorf("the branches of %s must come with Prepare. %w", branch.Gid, dtmcli.ErrFailure)\n'
written

# A failed call of a branch is kept: how often, and why.
edit dtmsvr/storage/trans.go
replace $'\tError        error      `json:"-" gorm:"-"`\n' \
  $'\tError        error      `json:"-" gorm:"-"`\n\tTries        int64      `json:"tries,omitempty"`\n\tLastError    string     `json:"last_error,omitempty"`\n'
written

# What the database rolls back to end a deadlock is repeated; changes that come at the same time share a local transaction.
edit dtmsvr/storage/registry/registry.go
replace $'\t"github.com/dtm-labs/logger"\n' \
  $'\t"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"\n\t"github.com/dtm-labs/logger"\n\t"example.com/fourfold/deploy/dtm/batched"\n\t"example.com/fourfold/deploy/dtm/deadlock"\n'
replace 'return &sql.Store{}' \
  'return batched.New(deadlock.Store{Store: &sql.Store{}}, func() string { return dtmimp.GetDsn(conf.Store.GetDBConf()) })'
written

# The longest overdue are worked on first: one that is made due again keeps its place.
edit dtmsvr/storage/sql/sql.go
replace "next_cron_time='%s' WHERE gid = '%s'" "next_cron_time=LEAST(next_cron_time, '%s') WHERE gid = '%s'"
written

# A participant that is frozen or cut off must not delay every second call to two instances. TLS is a setting.
edit client/dtmgrpc/dtmgimp/grpc_clients.go
replace $'\tgrpc "google.golang.org/grpc"\n\t"google.golang.org/grpc/credentials/insecure"\n' \
  $'\t"example.com/fourfold/chassis/endpoints"\n\t"example.com/fourfold/deploy/dtm/servers"\n\tgrpc "google.golang.org/grpc"\n'
replace 'insecure.NewCredentials()' 'servers.Credentials'
replace 'grpc.Dial(grpcServer, inOpt, ' 'grpc.Dial(grpcServer, inOpt, endpoints.KeepAlive(), '
written

# The database's TLS.
edit client/dtmcli/dtmimp/utils.go
replace 'loc=Local&interpolateParams=true",' 'loc=Local&interpolateParams=true&tls=" + os.Getenv("STORE_TLS"),'
written

# What a branch is told, as the address of a slip, stays out of the log, at every level.
edit client/dtmgrpc/dtmgimp/types.go
replace '"grpc server handling: %s %s", info.FullMethod, dtmimp.MustMarshalString(req))' '"grpc server handling: %s", info.FullMethod)'
replace $'"%2dms %v %s %s %s",\n\t\ttime.Since(began).Milliseconds(), err, info.FullMethod, dtmimp.MustMarshalString(m), dtmimp.MustMarshalString(req))' \
  $'"%2dms %v %s",\n\t\ttime.Since(began).Milliseconds(), err, info.FullMethod)'
replace '"grpc client calling: %s%s %v", cc.Target(), method, dtmimp.MustMarshalString(req))' '"grpc client calling: %s%s", cc.Target(), method)'
replace $'"grpc client called: %s%s %s result: %s err: %v",\n\t\tcc.Target(), method, dtmimp.MustMarshalString(req), dtmimp.MustMarshalString(reply), err)' \
  $'"grpc client called: %s%s err: %v",\n\t\tcc.Target(), method, err)'
written
edit dtmsvr/storage/trans.go
replace 'return dtmimp.MustMarshalString(g)' 'return g.Gid + " " + g.Status'
replace 'return dtmimp.MustMarshalString(*b)' 'return b.BranchID + " " + b.Op + " " + b.Status'
replace $'\t"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"\n' ''
written
edit dtmsvr/trans_process.go
replace 't.TransGlobalStore.String(), dtmimp.MustMarshalString(branches))' 't.TransGlobalStore.String(), len(branches))'
written
edit dtmsvr/api.go
replace 'dtmcli.StatusPrepared, dtmimp.MustMarshalString(branches))' 'dtmcli.StatusPrepared, branch.BranchID)'
written
edit dtmutil/utils.go
replace 'logger.Debugf("begin %s %s body: %s", c.Request.Method, c.Request.URL, body)' 'logger.Debugf("begin %s %s: %d bytes", c.Request.Method, c.Request.URL, len(body))'
replace 'logger.Infof("%2dms %d %s %s %s", time.Since(began).Milliseconds(), status, c.Request.Method, c.Request.RequestURI, cont)' \
  'logger.Infof("%2dms %d %s %s", time.Since(began).Milliseconds(), status, c.Request.Method, c.Request.RequestURI)'
written
edit dtmutil/db.go
replace $'\t\tsql := db.Dialector.Explain(db.Statement.SQL.String(), db.Statement.Vars...)\n' ''
replace 'affected: %d sql is: %s", time.Since(_ts.(time.Time)).Milliseconds(), db.RowsAffected, sql)' \
  'affected: %d sql is: %s", time.Since(_ts.(time.Time)).Milliseconds(), db.RowsAffected, db.Statement.SQL.String())'
replace $'\t\t\tSkipDefaultTransaction: true,\n' $'\t\t\tSkipDefaultTransaction: true,\n\t\t\tLogger:                 gormlog.Discard,\n'
replace $'\t"gorm.io/gorm"\n' $'\t"gorm.io/gorm"\n\tgormlog "gorm.io/gorm/logger"\n'
written

cp go.mod "$copy/our.mod"
cp go.sum "$copy/our.sum"
go mod edit -replace "github.com/dtm-labs/dtm=$copy" "$copy/our.mod"
go build -modfile "$copy/our.mod" -tags patched -ldflags '-X main.hosts=patched' -o "$output" .
