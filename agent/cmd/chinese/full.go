//go:build !gateway

package chinese

import _ "embed"

//go:embed help_full.txt
var helpFull string
