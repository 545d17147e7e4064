// ONNX Runtime keeps a device id and a queue of events under $HOME/.cache/Microsoft and looks up Microsoft's collector
// unless this is set before its library loads. Assigned, not defaulted: nothing that the gateway runs may report on it.
// The main thread does it before it starts one that loads the library: a thread's environment is a copy of its own,
// which no library sees.
process.env.ORT_DISABLE_TELEMETRY = '1'
