// A module of its own, so that the project's does not need a client_golang of 2019. main.go is that of ../golang.
module golang-1.1.0

go 1.26.7

require github.com/prometheus/client_golang v1.1.0

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/golang/protobuf v1.3.2 // indirect
	github.com/matttproud/golang_protobuf_extensions v1.0.1 // indirect
	github.com/prometheus/client_model v0.0.0-20190129233127-fd36f4220a90 // indirect
	github.com/prometheus/common v0.6.0 // indirect
	github.com/prometheus/procfs v0.0.3 // indirect
	golang.org/x/sys v0.0.0-20190801041406-cbf593c0f2f3 // indirect
)
