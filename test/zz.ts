import { measureTls } from './bench/tls.ts';
await measureTls(console.log);
