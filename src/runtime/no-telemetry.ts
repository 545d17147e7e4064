// ONNX Runtime keeps a device id and a queue of events under $HOME/.cache/Microsoft and looks up Microsoft's collector
// unless this is set before its library loads. Assigned, not defaulted: nothing that the gateway runs may report on it.
process.env.ORT_DISABLE_TELEMETRY = '1'
