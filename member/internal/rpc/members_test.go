package rpc_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/internal/rpc"
	"example.com/fourfold/member/migrations"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // each wrong password is a line
	mysqltest.Main(m)
}

// fixture is the service over a database of the test's own.
type fixture struct {
	*rpc.Members
	db     *sql.DB
	store  *mysql.Store
	tokens *identity.Verifier
}

func newFixture(t *testing.T, limits ...rpc.Guesses) fixture {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	passwords, err := password.NewHasher(0)
	require.NoError(t, err)
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db)
	cfg := rpc.Config{TokenTTL: time.Hour}
	for _, l := range limits {
		cfg.Guesses = l
	}
	members, err := rpc.NewMembers(store, mqtest.Absent(t, db, "member"), passwords, identity.NewSigner("k1", private), cfg)
	require.NoError(t, err)
	return fixture{
		members,
		db,
		store,
		identity.NewVerifier(map[string]ed25519.PublicKey{"k1": public}),
	}
}

func ann() *memberv1.SignUpRequest {
	return &memberv1.SignUpRequest{Phone: "+8613800138000", Email: "Ann@Example.com", Name: "Ann", Password: "correct horse"}
}

// requireReason fails the test unless err is the generated error with this reason and code.
func requireReason(t *testing.T, err error, reason memberv1.ErrorReason, code int) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, reason.String(), kerrors.Reason(err), "%v", err)
	assert.Equal(t, code, kerrors.Code(err))
}

func TestSignUpThenSignIn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	signed, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	id, err := uuid.Parse(signed.GetMemberId())
	require.NoError(t, err)
	assert.EqualValues(t, 7, id.Version(), "ids sort by age")

	for _, login := range []string{"ann@example.com", " ANN@example.COM ", "+8613800138000", "+86 138-0013-8000"} {
		reply, err := f.SignIn(t.Context(), &memberv1.SignInRequest{Login: login, Password: "correct horse"})
		require.NoError(t, err, login)
		assert.EqualValues(t, 3600, reply.GetExpiresIn())
		caller, err := f.tokens.Verify(reply.GetAccessToken())
		require.NoError(t, err)
		assert.Equal(t, identity.Caller{MemberID: signed.GetMemberId(), Role: accessv1.Shopper}, caller)
	}

	me, err := f.GetMe(identity.NewContext(t.Context(), identity.Caller{MemberID: signed.GetMemberId()}), &memberv1.GetMeRequest{})
	require.NoError(t, err)
	assert.Equal(t, "ann@example.com", me.GetEmail())
	assert.Equal(t, "+8613800138000", me.GetPhone())
	assert.Equal(t, "Ann", me.GetName())
	assert.Equal(t, memberv1.Member_SHOPPER, me.GetRole())
	assert.WithinDuration(t, time.Now(), me.GetCreatedAt().AsTime(), time.Minute)
}

func TestAnOperatorsTokenSaysSo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	signed, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	_, hash, err := f.store.ByLogin(t.Context(), member.Login{Email: "ann@example.com"})
	require.NoError(t, err)
	m, err := member.New(uuid.NewString(), "+8613800138001", "ops@example.com", "Ops", member.Operator)
	require.NoError(t, err)
	require.NoError(t, database.InTx(t.Context(), f.db, func(tx *sql.Tx) error { return f.store.Create(t.Context(), tx, m, hash) }))

	reply, err := f.SignIn(t.Context(), &memberv1.SignInRequest{Login: "ops@example.com", Password: "correct horse"})
	require.NoError(t, err)
	caller, err := f.tokens.Verify(reply.GetAccessToken())
	require.NoError(t, err)
	assert.Equal(t, identity.Caller{MemberID: m.ID, Role: accessv1.Operator}, caller)
	assert.NotEqual(t, signed.GetMemberId(), caller.MemberID)
	me, err := f.GetMe(identity.NewContext(t.Context(), caller), &memberv1.GetMeRequest{})
	require.NoError(t, err)
	assert.Equal(t, memberv1.Member_OPERATOR, me.GetRole())
}

// TestSignInDoesNotTellWhoIsAMember tests that an unknown login and a wrong password get the same answer after the same time.
func TestSignInDoesNotTellWhoIsAMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	try := func(login string) (message string, fastest time.Duration) {
		fastest = time.Hour
		for range 8 {
			start := time.Now()
			_, err := f.SignIn(t.Context(), &memberv1.SignInRequest{Login: login, Password: "wrong horse"})
			fastest = min(fastest, time.Since(start))
			requireReason(t, err, memberv1.ErrorReason_SIGN_IN_FAILED, 401)
			message = kerrors.FromError(err).Message
		}
		return message, fastest
	}
	wantMessage, known := try("ann@example.com")
	for _, login := range []string{"bob@example.com", "+8613800138009", "not a login", "用户@例子.中国"} {
		message, unknown := try(login)
		assert.Equal(t, wantMessage, message)
		assert.InDelta(t, 0, math.Log2(float64(unknown)/float64(known)), 3, "%s: %s, wrong password: %s", login, unknown, known)
	}
}

// TestSignUpDoesNotTellWhoIsAMember tests that a sign-up with somebody's phone or email is answered as any other, neither by words nor by time, and
// changes nothing; and that the owner is told, once a day.
func TestSignUpDoesNotTellWhoIsAMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	signed, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	bob := ann()
	bob.Phone, bob.Email = "+8613800138005", "bob@example.com"
	_, err = f.SignUp(t.Context(), bob)
	require.NoError(t, err)
	people, seen := 0, map[string]bool{signed.GetMemberId(): true}
	try := func(change func(r *memberv1.SignUpRequest)) time.Duration {
		people++
		r := &memberv1.SignUpRequest{Phone: fmt.Sprintf("+861390013%04d", people), Email: fmt.Sprintf("n%d@example.com", people), Name: "N",
			Password: "another horse"}
		change(r)
		start := time.Now()
		reply, err := f.SignUp(t.Context(), r)
		took := time.Since(start)
		require.NoError(t, err)
		id, err := uuid.Parse(reply.GetMemberId())
		require.NoError(t, err)
		assert.EqualValues(t, 7, id.Version())
		assert.False(t, seen[reply.GetMemberId()], "an id of its own")
		seen[reply.GetMemberId()] = true
		return took
	}
	for name, change := range map[string]func(*memberv1.SignUpRequest){
		"phone":           func(r *memberv1.SignUpRequest) { r.Phone = ann().Phone },
		"email":           func(r *memberv1.SignUpRequest) { r.Email = "ANN@example.com" },
		"both":            func(r *memberv1.SignUpRequest) { r.Phone, r.Email = ann().Phone, ann().Email },
		"of two":          func(r *memberv1.SignUpRequest) { r.Phone, r.Email = ann().Phone, bob.Email },
		"with a password": func(r *memberv1.SignUpRequest) { r.Phone, r.Password = ann().Phone, ann().Password },
	} {
		taken, free := time.Hour, time.Hour
		for range 5 { // in turns: the load of the machine must not decide
			taken, free = min(taken, try(change)), min(free, try(func(*memberv1.SignUpRequest) {}))
		}
		assert.InDelta(t, 0, math.Log2(float64(taken)/float64(free)), 3, "%s is taken: %s, free: %s", name, taken, free)
	}
	assert.Equal(t, "27\n--\n", mysqltest.Dump(t, f.db, "SELECT COUNT(*) FROM member"))
	told := func() string {
		return mysqltest.Dump(t, f.db, "SELECT email FROM member JOIN mq_outbox ON subject = member.id WHERE type = 'member.sign-up-refused' ORDER BY email")
	}
	assert.Equal(t, "ann@example.com\nbob@example.com\n--\n", told())
	_, err = f.db.ExecContext(t.Context(), "UPDATE member SET told_at = TIMESTAMPADD(HOUR, -25, told_at)")
	require.NoError(t, err)
	try(func(r *memberv1.SignUpRequest) { r.Phone = ann().Phone })
	assert.Equal(t, "ann@example.com\nann@example.com\nbob@example.com\n--\n", told())
	_, err = f.SignIn(t.Context(), &memberv1.SignInRequest{Login: "ann@example.com", Password: "another horse"})
	requireReason(t, err, memberv1.ErrorReason_SIGN_IN_FAILED, 401)
}

// TestSignUpAgain tests that a sign-up that is repeated is answered as it was, and that this is no way to guess without being counted.
func TestSignUpAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, slow)
	signed, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	again := func(secret string) string {
		r := ann()
		r.Password = secret
		reply, err := f.SignUp(t.Context(), r)
		require.NoError(t, err)
		return reply.GetMemberId()
	}
	for range 12 {
		assert.Equal(t, signed.GetMemberId(), again("correct horse"))
	}
	for range 10 {
		assert.NotEqual(t, signed.GetMemberId(), again("wrong horse"))
	}
	assert.NotEqual(t, signed.GetMemberId(), again("correct horse"), "too many guesses")
	assert.Equal(t, "TOO_MANY_GUESSES", f.try(t, "203.0.113.1", "ann@example.com", "correct horse"))
}

func TestSignUpRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	blank := ann()
	blank.Phone, blank.Email, blank.Name = "+8613800138003", "carl@example.com", " \t"
	_, err := f.SignUp(t.Context(), blank)
	requireReason(t, err, memberv1.ErrorReason_MEMBER_INVALID, 400)
	assert.ErrorContains(t, err, "name")

	unreachable := ann()
	unreachable.Phone, unreachable.Email = "+8613800138004", "dan..d@example.com" // which the rule of the proto takes
	_, err = f.SignUp(t.Context(), unreachable)
	requireReason(t, err, memberv1.ErrorReason_MEMBER_INVALID, 400)
	assert.ErrorContains(t, err, "email: it has a dot")
}

// TestSignsInWithAnOldAddress tests that who signed up with an address that is refused now can still sign in.
func TestSignsInWithAnOldAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	for _, old := range []string{"an..n@example.com", "ann@example", "ann@192.0.2.1"} {
		_, err = f.db.ExecContext(t.Context(), "UPDATE member SET email = ?", old)
		require.NoError(t, err)
		_, err = f.SignIn(t.Context(), &memberv1.SignInRequest{Login: old, Password: "correct horse"})
		require.NoError(t, err, old)
	}
}

// TestOneEventAMember tests that a sign-up that makes nobody leaves no event of a new member.
func TestOneEventAMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	signed, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	_, err = f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	other := ann()
	other.Phone, other.Password = "+8613800138001", "another horse"
	_, err = f.SignUp(t.Context(), other)
	require.NoError(t, err)
	assert.Equal(t, "member-events "+signed.GetMemberId()+" READY\n--\n",
		mysqltest.Dump(t, f.db, "SELECT topic, subject, state FROM mq_outbox WHERE type = 'member.registered'"))
}

// TestRacingSignUps tests that one of the sign-ups creates the member, and that its password signs in.
func TestRacingSignUps(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const racers = 20
	var group sync.WaitGroup
	for n := range racers {
		group.Go(func() {
			_, err := f.SignUp(t.Context(), &memberv1.SignUpRequest{
				Phone: fmt.Sprintf("+86138001380%02d", n), Email: "ann@example.com", Name: "Ann", Password: fmt.Sprintf("password %d", n),
			})
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.Equal(t, "1\n--\n1\n--\n", mysqltest.Dump(t, f.db, "SELECT COUNT(*) FROM member",
		"SELECT COUNT(*) FROM mq_outbox WHERE type = 'member.registered'"))
	winner := 0
	for n := range racers {
		if _, err := f.SignIn(t.Context(), &memberv1.SignInRequest{Login: "ann@example.com", Password: fmt.Sprintf("password %d", n)}); err == nil {
			winner++
		}
	}
	assert.Equal(t, 1, winner)
}

// TestOldHash tests that a password that was hashed as it was typed goes on being good, and is good in every form after its next use.
func TestOldHash(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	f.cheapen(t, "caf\u00e9 \ufb01rst")
	_, err = f.SignIn(t.Context(), &memberv1.SignInRequest{Login: "ann@example.com", Password: "cafe\u0301 first"})
	requireReason(t, err, memberv1.ErrorReason_SIGN_IN_FAILED, 401)
	for _, typed := range []string{"caf\u00e9 \ufb01rst", "cafe\u0301 first", "caf\u00e9 \ufb01rst"} {
		_, err = f.SignIn(t.Context(), &memberv1.SignInRequest{Login: "ann@example.com", Password: typed})
		require.NoError(t, err, "%+q", typed)
	}
}

func TestGetMeOfNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, caller := range []identity.Caller{{}, {MemberID: uuid.NewString(), Role: accessv1.Shopper}} {
		_, err := f.GetMe(identity.NewContext(t.Context(), caller), &memberv1.GetMeRequest{})
		requireReason(t, err, memberv1.ErrorReason_MEMBER_NOT_FOUND, 404)
	}
}

func TestEveryErrorOfTheDomainHasItsAnswer(t *testing.T) {
	t.Parallel()
	for sentinel, want := range map[error]struct {
		reason memberv1.ErrorReason
		code   int
	}{
		member.ErrExists:   {memberv1.ErrorReason_MEMBER_EXISTS, 409},
		member.ErrInvalid:  {memberv1.ErrorReason_MEMBER_INVALID, 400},
		member.ErrSignIn:   {memberv1.ErrorReason_SIGN_IN_FAILED, 401},
		member.ErrNotFound: {memberv1.ErrorReason_MEMBER_NOT_FOUND, 404},
	} {
		requireReason(t, rpc.Error(sentinel), want.reason, want.code)
		requireReason(t, rpc.Error(fmt.Errorf("wrapped: %w", sentinel)), want.reason, want.code)
	}
	busy := kerrors.FromError(rpc.Error(fmt.Errorf("wrapped: %w", password.ErrBusy)))
	assert.EqualValues(t, 503, busy.Code)
	assert.NotEmpty(t, busy.Metadata["retry_after"])
	other := errors.New("the database is gone")
	assert.Same(t, other, rpc.Error(other))
	assert.NoError(t, rpc.Error(nil))
}
