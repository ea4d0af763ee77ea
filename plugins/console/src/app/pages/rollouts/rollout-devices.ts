import { ChangeDetectionStrategy, Component, computed, effect, inject, input, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { count, counted } from '../../core/format';
import { CountedState, Member, Page, RolloutCounts, RolloutUpdate, Update } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Loading } from '../../ui/notice';
import { PolicyLine } from '../../ui/policy-line';
import { StateBadge } from '../../ui/state-badge';
import { isUnderWay, lookOf } from '../../ui/states';
import { Time } from '../../ui/time';

type ListedState = CountedState | 'excluded';

interface Row {
  /** Of the update; null where there is none. */
  id: number | null;
  device: number;
  name: string;
  state: string;
  progress: number;
  from: string | null;
  reason: string | null;
  line: number | null;
  file: string | null;
  at: string;
}

/** States that devices are in without an update of theirs. */
const MEMBERS: ListedState[] = ['held', 'waiting', 'vanished', 'skipped', 'excluded'];
const STATES: ListedState[] = [
  ...MEMBERS,
  'pending',
  'offered',
  'downloading',
  'installing',
  'succeeded',
  'failed',
  'rolled_back',
  'rejected',
  'timed_out',
  'cancelled',
];

/** The updates that a rollout has made, newest first, and by state what it makes of each device; live. */
@Component({
  selector: 'otad-rollout-devices',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Frame, Loading, More, PolicyLine, RouterLink, StateBadge, Time],
  templateUrl: './rollout-devices.html',
  styleUrl: './rollout-devices.scss',
})
export class RolloutDevices {
  private readonly api = inject(Api);

  readonly rollout = input.required<number>();
  readonly policy = input.required<string>();
  /** Null: they do not tell how many updates there are of each state, as on the way back. */
  readonly counts = input.required<RolloutCounts | null>();
  /** As the address has it. */
  readonly state = input<string>();

  protected readonly number = count;
  protected readonly counted = counted;
  protected readonly isUnderWay = isUnderWay;
  protected readonly shown = computed(() => STATES.find((state) => state === this.state()));
  protected readonly shownText = computed(() => lookOf(this.shown() ?? '').text.toLowerCase());
  /** States that there are devices in, and the one that is shown. */
  protected readonly tabs = computed(() =>
    STATES.map((state) => ({ state, text: lookOf(state).text, n: this.counts()?.[state] })).filter(
      ({ state, n }) => n !== 0 || state === this.shown(),
    ),
  );
  protected readonly list = new PagedList<Row>(async (cursor, limit) => {
    const state = this.shown();
    const query = { state, cursor, limit };
    const path = `/rollouts/${this.rollout()}`;
    return state && MEMBERS.includes(state)
      ? rows(await this.api.list<Member>(`${path}/members`, query), ofMember)
      : rows(await this.api.list<RolloutUpdate>(`${path}/devices`, query), ofUpdate);
  });

  private readonly changed = new Map<number, Update>();

  constructor() {
    effect(() => {
      this.rollout();
      this.shown();
      untracked(() => this.list.restart());
    });
    const reread = coalesce(() => !this.list.loading() && this.list.reload(), 1000);
    const show = coalesce(() => {
      const news = ({ id }: Row) => (id === null ? undefined : this.changed.get(id));
      const known = this.list.items().filter(news).length;
      this.list.patch((row) => {
        const update = news(row);
        return update ? { ...ofUpdate({ ...update, device_code: null, name: row.name }), name: row.name } : row;
      });
      if ((known < this.changed.size || this.shown()) && this.list.first()) reread();
      this.changed.clear();
    }, 250);
    inject(Feed).watch(
      () => [`rollout:${this.rollout()}`],
      ({ event, data }) => {
        if (event !== 'update') return;
        const update = data as Update;
        this.changed.set(update.id, update);
        show();
      },
      reread,
    );
  }
}

function rows<T>({ items, next }: Page<T>, row: (item: T) => Row): Page<Row> {
  return { items: items.map(row), next };
}

function ofUpdate(update: RolloutUpdate): Row {
  return {
    id: update.id,
    device: update.device_id,
    name: update.name ?? update.device_code ?? `device ${update.device_id}`,
    state: update.state,
    progress: update.progress,
    from: update.from_version,
    reason: update.reason,
    line: null,
    file: null,
    at: update.updated_at,
  };
}

function ofMember(member: Member): Row {
  return {
    id: member.update_id,
    device: member.device_id,
    name: member.name ?? member.device_code,
    state: member.state,
    progress: 0,
    from: null,
    reason: member.reason,
    line: member.line,
    file: member.file,
    at: member.since,
  };
}
