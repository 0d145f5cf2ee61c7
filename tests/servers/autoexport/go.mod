// Stands in for the module of this name, with which distribution exports traces: 160 packages to compile, gRPC among
// them, for what the tests' registry does not do.
module go.opentelemetry.io/contrib/exporters/autoexport

go 1.26.0

require go.opentelemetry.io/otel/sdk v1.43.0
