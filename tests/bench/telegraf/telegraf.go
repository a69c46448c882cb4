//go:build tools

// Package telegraf pins the Telegraf that the hub is measured beside.
package telegraf

import _ "github.com/influxdata/telegraf/cmd/telegraf"
