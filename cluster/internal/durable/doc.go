// Package durable writes files so that a crash leaves the old one or the whole new one, and says of a file that cannot
// be trusted what is wrong with it and what can be done. It knows neither what the files hold nor who reads them.
package durable
