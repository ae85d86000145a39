package syncapi

import (
	"net/http"
)

// Files is an address below the centre's, and a client that shows the depot's credential
// there and nowhere else. Who calls it bounds what it reads and how long it waits.
func (c *Client) Files(path string) (address string, client *http.Client) {
	return c.base.JoinPath(path).String(), &http.Client{Transport: shower{c}, CheckRedirect: keepRedirect}
}

// shower shows the credential with each GET.
type shower struct{ *Client }

// RoundTrip implements http.RoundTripper.
func (s shower) RoundTrip(r *http.Request) (*http.Response, error) {
	for first := true; ; first = false {
		token, err := s.credential.Token(r.Context())
		if err != nil {
			return nil, err
		}
		again := r.Clone(r.Context())
		authorize(again, token)
		resp, err := s.http.Transport.RoundTrip(again)
		if err != nil {
			return nil, redact(err, token)
		}
		if resp.StatusCode != http.StatusUnauthorized || !s.credential.Refused(token) || !first {
			return resp, nil
		}
		_ = resp.Body.Close() // nothing of it is read
	}
}
