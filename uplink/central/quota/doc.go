// Package quota knows what WeChat last said about the fleet's quotas of today. It
// asks every five minutes at most, bounds by the answer the rate that is shared
// out, and warns once a day when a tenth is left. Without WeChat's word the
// configured rate holds: depots obey its refusals anyway.
package quota
