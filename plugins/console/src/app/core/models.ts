// What the API answers with, field by field: times are RFC 3339 in UTC, ids are integers.

export interface Page<T> {
  items: T[];
  next: string | null;
}

export type Role = 'user' | 'operator';

export interface User {
  id: number;
  email: string;
  role: Role;
  created_at: string;
  last_login?: string | null;
  devices?: number;
}

export type DeviceState = 'online' | 'offline';
export type Tags = Record<string, string>;

export interface Device {
  id: number;
  device_code: string;
  name: string | null;
  chip: string | null;
  chip_reported: string | null;
  tags: Tags;
  status: DeviceState;
  firmware_version: string | null;
  elf_sha256: string | null;
  last_seen: string | null;
  created_at: string;
  user_id: number | null;
  /** Only in lists: the update under way. */
  update?: Pick<Update, 'id' | 'state' | 'progress' | 'version'> | null;
}

export interface DeviceStatus {
  status: DeviceState;
  last_seen: string | null;
  firmware_version: string | null;
  telemetry: Record<string, unknown>;
  update: Update | null;
}

export type UpdateState =
  | 'pending'
  | 'offered'
  | 'downloading'
  | 'installing'
  | 'succeeded'
  | 'failed'
  | 'rolled_back'
  | 'rejected'
  | 'timed_out'
  | 'cancelled';

export interface Update {
  id: number;
  device_id: number;
  firmware_id: number | null;
  rollout_id: number | null;
  version: string;
  from_version: string | null;
  state: UpdateState;
  progress: number;
  reason: string | null;
  created_at: string;
  updated_at: string;
}

export interface Credentials {
  username: string;
  password: string;
  client_id: string;
}

export interface Registration {
  device: Device;
  credentials: Credentials;
  mqtt: {
    host: string;
    port: number;
    tls: boolean;
    ca: string | null;
    topics: { status: string; ota: string; logs: string };
  };
  keys: { manifest: string; release: string[] };
}

export interface LogLine {
  at: string;
  level: string;
  message: string;
}

export interface TelemetryPoint {
  at: string;
  min: number | null;
  avg: number | null;
  max: number | null;
}

export interface TimelineEntry {
  at: string;
  kind: 'registered' | 'online' | 'offline' | 'restart' | 'firmware' | 'update' | 'decision' | 'person';
  text: string;
  data: Record<string, unknown>;
}

export interface DeviceExplanation {
  device_id: number;
  updating: boolean;
  explanation: string;
  update: Update | null;
  rollouts: RolloutMembership[];
}

/** What one rollout makes of one device (scripts/lib/explain_member.lua). */
export interface RolloutMembership {
  rollout_id: number;
  name: string;
  rollout_state: RolloutState;
  /** `untargeted`: it does not concern the device. */
  state: CountedState | 'excluded' | 'untargeted';
  explanation: string;
  verdict: string | null;
  reason: string | null;
  policy: string;
  revision: string | null;
  line: number | null;
  file: string | null;
  asked: number | null;
  since: string | null;
  ask_at: string | null;
}

export interface Firmware {
  id: number;
  version: string;
  chip: string;
  project: string;
  size: number;
  sha256: string;
  elf_sha256: string;
  secure_version: number;
  idf_version: string;
  min_chip_revision: number;
  signature_kind: 'none' | 'secure_boot_v1' | 'secure_boot_v2_rsa' | 'secure_boot_v2_ecdsa';
  release_key: string | null;
  file_url: string;
  notes: string | null;
  uploaded_at: string;
}

export type RolloutState = 'running' | 'paused' | 'completed' | 'aborted' | 'rolling_back' | 'rolled_back';

export interface Target {
  chip?: string;
  tags?: Tags;
  versions?: string[];
  device_ids?: number[];
}

export type CountedState = UpdateState | 'waiting' | 'held' | 'vanished' | 'skipped';
export type RolloutCounts = Record<'targeted' | 'excluded' | 'under_way' | CountedState, number>;

export interface Rollout {
  id: number;
  name: string;
  state: RolloutState;
  policy: string;
  revision: string | null;
  firmware: Pick<Firmware, 'id' | 'version' | 'chip' | 'project' | 'size'>;
  target: Target;
  params: Record<string, unknown>;
  priority: number;
  stage: { index: number; name: string; share: number; of: number; entered_at: string } | null;
  counts: RolloutCounts;
  reason: string | null;
  starts_at: string;
  created_at: string;
  updated_at: string;
}

export interface Stage {
  name: string;
  share: number;
  soak: number;
}

/** What a policy declares, defaults filled in. */
export interface Plan {
  stages: Stage[];
  rate?: { per_minute: number; growth: number };
  concurrency?: number;
  timeout?: number;
  retry?: { max: number; after: number };
  spread?: { tag: string; concurrency: number };
  max_failure?: number;
  priority?: number;
  /** Whether it has such a function. */
  admit?: boolean;
  advance?: boolean;
  from?: string[];
  steps?: string[];
  downgrade?: boolean;
}

export interface FailureStats {
  ended: number;
  succeeded: number;
  failed: number;
  failure_rate: number;
  failure_low: number;
  failure_high: number;
}

/** What a rollout makes of one device. */
export interface Member {
  device_id: number;
  device_code: string;
  name: string | null;
  state: CountedState | 'excluded';
  verdict: string | null;
  reason: string | null;
  line: number | null;
  file: string | null;
  ask_at: string | null;
  attempts: number;
  update_id: number | null;
  since: string;
}

/** An update in the list of a rollout's. */
export interface RolloutUpdate extends Update {
  device_code: string | null;
  name: string | null;
}

export interface RolloutDetail extends Rollout {
  excluded: { reason: string; count: number }[];
  held: { verdict: string; reason: string | null; count: number }[];
  /** As its policy sees them. */
  stats: FailureStats & { since_resume: FailureStats };
  plan: Plan;
  explanation: string;
}

export interface Decision {
  id: number;
  at: string;
  rollout_id?: number;
  device_id: number | null;
  verdict: string;
  reason: string | null;
  policy: string;
  revision: string | null;
  line: number | null;
  file: string | null;
}

export interface PolicyProblem {
  line: number | null;
  column?: number | null;
  severity: 'error' | 'warning';
  message: string;
}

/** As lists have it. */
export interface PolicyRow {
  name: string;
  /** What the comment at the top of its source says. */
  description: string | null;
  revision: string;
  parent: string | null;
  author: string | null;
  message: string | null;
  note: string | null;
  created_at: string;
  updated_at: string;
  declaration: Plan | null;
  problems: PolicyProblem[];
  /** Running rollouts that go by it. */
  rollouts: number;
}

export interface Policy extends PolicyRow {
  source: string;
}

export interface Revision {
  revision: string;
  parent: string | null;
  author: string | null;
  message: string | null;
  created_at: string;
  source: string;
}

/** What a simulated rollout had come to at a moment of virtual time; numbers count since its beginning. */
export interface SimulatedCounts {
  targeted: number;
  offered: number;
  under_way: number;
  ended: number;
  succeeded: number;
  failed: number;
  failure_rate: number;
}

export interface SimulatedDecision extends SimulatedCounts {
  at_s: number;
  stage: string | null;
  verdict: string | null;
  reason: string | null;
  line: number | null;
  file: string | null;
}

/** Of a stage that it never came to there are no counts. */
export interface SimulatedStage extends Partial<SimulatedCounts> {
  name: string;
  share: number;
  soak_s: number;
  entered_s: number | null;
  until_s?: number;
}

export interface Simulation {
  outcome: 'completed' | 'paused' | 'aborted' | 'rolled_back' | 'running' | 'reverted';
  at_s: number;
  stage: string | null;
  reason: string | null;
  line: number | null;
  file: string | null;
  timeline: SimulatedDecision[];
  stages: SimulatedStage[];
  devices: number;
  targeted: number;
  counts: Record<CountedState, number>;
  excluded: { reason: string; count: number }[];
  held: { reason: string | null; count: number; line: number | null; verdict: string }[];
  fleet: { devices: number; simulated: number; made_up: boolean };
}

export interface RecordedVerdict {
  verdict: string;
  reason: string | null;
  line: number | null;
  file: string | null;
}

/** Recorded decisions of a policy's rollouts once more, with another source. */
export interface Replay {
  decisions: number;
  asked: number;
  same: number;
  reworded: number;
  differing: number;
  failed: number;
  changes: { was: RecordedVerdict; is: RecordedVerdict; count: number; stages: number; device_ids: number[] }[];
  now_offered: { count: number; device_ids: number[] };
  no_longer_offered: { count: number; device_ids: number[] };
}

export interface TestRun {
  ok: boolean;
  passed: number;
  failed: number;
  tests: { file: string; name: string; ok: boolean; message: string | null; line: number | null }[];
  coverage: { lines: number; ran: number; missed: number[] };
}

export interface Attention {
  kind: string;
  count: number;
  text: string;
  filter: Record<string, string> | null;
  rollout_id: number | null;
  policy: string | null;
}

export interface FleetSummary {
  devices: { total: number; online: number; offline: number; never_seen: number };
  versions: {
    chip: string | null;
    version: string | null;
    firmware_id: number | null;
    devices: number;
    online: number;
  }[];
  updates: { under_way: number; last_day: Record<string, number> };
  rollouts: Rollout[];
  attention: Attention[];
}

export interface Job {
  id: number;
  action: 'tag' | 'update' | 'cancel' | 'delete';
  state: 'running' | 'done';
  total: number;
  done: number;
  changed: number;
  problems: { reason: string; count: number }[];
  created_at: string;
  updated_at: string;
}

export interface AuditEntry {
  id: number;
  at: string;
  user: { id: number; email: string } | null;
  via: 'http' | 'command line';
  address: string | null;
  request_id: string | null;
  action: string;
  target: { kind: string; id: number | string | null; name: string | null };
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
}

export type FeedEvent = 'status' | 'log' | 'update' | 'rollout' | 'decision' | 'firmware';

export interface FeedMessage<T = unknown> {
  topic: string;
  event: FeedEvent;
  at: string;
  data: T;
}

/** What the live feed says of itself: an error's topic is null where a message as a whole is meant. */
export type FeedNotice =
  | { event: 'dropped'; data: { count: number } }
  | { event: 'error'; data: { topic: string | null; detail: string } }
  | { event: 'done'; data: { id: number } };

/** Data of `status` events: what a message of the device told. */
export interface StatusNews {
  device_id: number;
  status: DeviceState;
  last_seen?: string;
  firmware_version?: string;
  telemetry: Record<string, unknown>;
}

export interface Facet {
  value: string;
  count: number;
}

export interface Facets {
  chips: Facet[];
  versions: Facet[];
  tags: Facet[];
}

/** What GET /devices filters by, as in its query. */
export interface DeviceFilter {
  q?: string;
  chip?: string;
  tag?: string;
  online?: boolean;
  version?: string;
  silent_for?: number;
  heard_within?: number;
  battery_below?: number;
  update?: 'under_way' | 'failed';
  firmware_id?: number;
}
