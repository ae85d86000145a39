package caller

import (
	"context"
	"net/http"

	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
)

// Need lets those through to next who show the bearer token of an operator that has
// the role. It is what every call needs that changes anything: a browser sends no
// bearer token by itself, whatever page it shows.
func (k *Keyring) Need(role Role, next http.HandlerFunc) http.HandlerFunc {
	return k.only(role, k.byToken, next)
}

// Look is Need for what only shows: a browser's session does as well.
func (k *Keyring) Look(role Role, next http.HandlerFunc) http.HandlerFunc {
	return k.only(role, k.Looker, next)
}

func (k *Keyring) only(role Role, who func(*http.Request) (Operator, int), next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o, status := who(r)
		switch {
		case status == http.StatusOK && o.Role.May(role):
			next(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, o)))
		case status == http.StatusOK:
			serve.Fail(w, http.StatusForbidden, "this call needs the role "+string(role)+", "+o.Name+" has "+string(o.Role))
		case status == http.StatusForbidden:
			serve.Fail(w, status, "closed: the centre's configuration has neither admin_token nor operators")
		case status == http.StatusTooManyRequests:
			w.Header().Set("Retry-After", "60")
			serve.Fail(w, status, "too many wrong tokens: try again in a minute")
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="scanrelay"`)
			serve.Fail(w, status, "this call needs Authorization: Bearer <an operator's token>")
		}
	}
}

// operatorKey is where a request's context has its operator.
type operatorKey struct{}

// Of is the operator whom Need or Look has let through.
func Of(ctx context.Context) Operator {
	o, _ := ctx.Value(operatorKey{}).(Operator)
	return o
}

// Local lets every call through as an administrator: on a socket that the operating
// system guards.
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := Operator{Name: "local " + r.RemoteAddr, Role: Admin}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, o)))
	})
}

// Looker is who looks: by a bearer token, or with a browser's session. status is
// 200, 401, 403 where nobody may, or 429 after too many wrong tokens.
func (k *Keyring) Looker(r *http.Request) (o Operator, status int) {
	if o, _, ok := k.browser(r); ok {
		return o, http.StatusOK
	}
	return k.byToken(r)
}

func (k *Keyring) byToken(r *http.Request) (Operator, int) {
	if o := Of(r.Context()); o.Name != "" {
		return o, http.StatusOK
	}
	token, ok := bearer(r)
	return k.admits(r, token, ok)
}

func (k *Keyring) admits(r *http.Request, token secret.Text, ok bool) (Operator, int) {
	c := k.now.Load()
	known := c.operators[c.hash(token)]
	switch {
	case len(c.operators) == 0:
		return Operator{}, http.StatusForbidden
	case !ok:
		return Operator{}, http.StatusUnauthorized
	case k.guessed.shut(r), (known == nil || len(token) < strongToken) && k.guessed.TooMany(r):
		return Operator{}, http.StatusTooManyRequests
	case known == nil:
		k.guessed.Wrong(r)
		return Operator{}, http.StatusUnauthorized
	}
	return Operator{Name: known.name, Role: known.role}, http.StatusOK
}
