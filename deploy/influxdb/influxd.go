//go:build tools

// Package influxd pins the server that the tests of the InfluxDB store run against.
package influxd

import _ "github.com/influxdata/influxdb/v2/cmd/influxd"
