// `npm start` serves the console by itself and passes everything else on to an otad (OTAD_URL, or the one of conf/up).
const target = process.env.OTAD_URL ?? `http://localhost:${process.env.OTAD_HTTP_PORT ?? 8080}`;
const api = ['auth', 'devices', 'firmware', 'rollouts', 'policies', 'admin', 'users', 'audit', 'jobs', 'fleet', 'ota'];

export default Object.fromEntries([
  ...[...api, 'readyz', 'healthz'].map((name) => [`/${name}`, { target }]),
  ['/ws', { target, ws: true }],
]);
