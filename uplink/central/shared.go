package central

import (
	"context"
	"log/slog"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/tokens"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/syncapi"
)

// What several processes of one centre share, by the room of its name: on a database
// (Options.Shared) presence, the token, who waits, and the parts of the rate. The rest each keeps in memory.

// Tokens own the fleet's access token.
type Tokens interface {
	// Hear takes what a depot says about them. The channel is closed when its
	// complaint was looked into; nil if there is nothing to wait for.
	Hear(ctx context.Context, depot scan.DepotID, said tokens.Word) (<-chan struct{}, error)
	// Give returns the token for a depot that reports a generation as bad ("":
	// none), nil if there is none that may be used.
	Give(ctx context.Context, bad string) (*syncapi.Token, syncapi.WeChatView, error)
	Current(ctx context.Context) (secret.Text, syncapi.WeChatView, error)
	// Change puts other secrets of the account in use.
	Change(ctx context.Context, next tokens.Secrets) error
	Run(ctx context.Context)
}

// Shares divide the fleet's rate, in calls a second.
type Shares interface {
	Bound(ctx context.Context, allowed float64) error
	// Ask changes the configured rate.
	Ask(ctx context.Context, rate float64) error
	Share(ctx context.Context, depot scan.DepotID, backlog int64) (float64, error)
	Of(ctx context.Context, depot scan.DepotID) (rate float64, backlog int64, err error)
	Total(ctx context.Context) (float64, error)
}

// Waiting knows which depot waits for the data of which waybill.
type Waiting interface {
	Declare(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) error
	Arrived(ctx context.Context, ids ...scan.WaybillID) error
	Ready(ctx context.Context, depot scan.DepotID, most int) ([]scan.WaybillID, error)
	Woken(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) error
	Counts(ctx context.Context) (waiting.Counts, error)
	// Life is another one when declarations were lost.
	Life(ctx context.Context) (string, error)
	Run(ctx context.Context)
}

// Presence knows when each depot was last heard of.
type Presence interface {
	Heard(ctx context.Context, depot scan.DepotID, req *syncapi.Request) error
	// Refused notes one of which a sync was not taken; req, which may be nil, is what
	// could be read of it, and lasting that the next will not be taken, either.
	Refused(ctx context.Context, depot scan.DepotID, req *syncapi.Request, lasting bool)
	Load(ctx context.Context) error
	Members(ctx context.Context) (map[scan.DepotID]presence.Member, error)
	// Connected is how many of them were heard of lately.
	Connected(ctx context.Context) (int, error)
	// Member is one of them; false: it is none.
	Member(ctx context.Context, id scan.DepotID) (presence.Member, bool, error)
	Watch(ctx context.Context, log *slog.Logger)
}
