// Package autoexport has the one function that distribution calls where traces are to be exported.
package autoexport

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/sdk/trace"
)

// NewSpanExporter refuses.
func NewSpanExporter(context.Context) (trace.SpanExporter, error) {
	return nil, errors.New("this registry exports no traces")
}
