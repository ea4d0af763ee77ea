import { ChangeDetectionStrategy, Component, computed, effect, inject, input, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import {
  mdiAccountOutline,
  mdiArrowDownBoldCircleOutline,
  mdiGavel,
  mdiLanConnect,
  mdiLanDisconnect,
  mdiPackageVariantClosed,
  mdiPlusCircleOutline,
  mdiRestart,
} from '@mdi/js';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { explainedDevice } from '../../core/explanation';
import { Feed } from '../../core/feed';
import { clockTime, zone } from '../../core/format';
import { StatusNews, TimelineEntry } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Session } from '../../core/session';
import { Icon } from '../../ui/icon';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PolicyLine } from '../../ui/policy-line';

const KINDS: Record<TimelineEntry['kind'], { icon: string; text: string }> = {
  registered: { icon: mdiPlusCircleOutline, text: 'Registered' },
  online: { icon: mdiLanConnect, text: 'Online' },
  offline: { icon: mdiLanDisconnect, text: 'Offline' },
  restart: { icon: mdiRestart, text: 'Restart' },
  firmware: { icon: mdiPackageVariantClosed, text: 'Firmware' },
  update: { icon: mdiArrowDownBoldCircleOutline, text: 'Update' },
  decision: { icon: mdiGavel, text: 'Decision' },
  person: { icon: mdiAccountOutline, text: 'Person' },
};
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' });

/** Everything that happened to the device, newest first, by days. */
@Component({
  selector: 'otad-device-timeline',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Empty, Icon, Loading, More, PolicyLine, RouterLink],
  templateUrl: './device-timeline.html',
  styleUrl: './device-timeline.scss',
})
export class DeviceTimeline {
  private readonly api = inject(Api);
  protected readonly session = inject(Session);
  readonly device = input.required<number>();

  protected readonly zone = zone();
  protected readonly list = new PagedList<TimelineEntry>((cursor, limit) =>
    this.api.list<TimelineEntry>(`/devices/${this.device()}/timeline`, { cursor, limit }),
  );
  protected readonly days = computed(() => {
    const days: { day: string; entries: ReturnType<typeof shown>[] }[] = [];
    for (const entry of this.list.items()) {
      const day = DAY.format(new Date(entry.at));
      if (days.at(-1)?.day !== day) days.push({ day, entries: [] });
      days.at(-1)!.entries.push(shown(entry));
    }
    return days;
  });
  private readonly news = coalesce(() => this.readNews(), 1000);
  private last = { status: '', version: '', uptime: 0 };

  constructor() {
    effect(() => {
      this.device();
      untracked(() => this.list.restart());
    });
    inject(Feed).watch(
      () => [`device:${this.device()}`],
      ({ event, data }) => {
        if (event === 'update' || event === 'decision' || (event === 'status' && this.tells(data as StatusNews)))
          this.news();
      },
      () => !this.list.loading() && this.list.reload(),
    );
  }

  /** Most status messages are heartbeats: only others make entries. */
  private tells({ status, firmware_version, telemetry }: StatusNews): boolean {
    const uptime = Number(telemetry['uptime'] ?? this.last.uptime);
    const next = { status, version: firmware_version ?? this.last.version, uptime };
    const changed = status !== this.last.status || next.version !== this.last.version || uptime < this.last.uptime;
    this.last = next;
    return changed;
  }

  /** Puts what is new in front, and leaves the pages that were read as they are. */
  private async readNews(): Promise<void> {
    const device = this.device();
    const first = this.list.items()[0];
    if (this.list.loading()) return void setTimeout(() => this.news(), 500);
    if (!first) return this.list.reload();
    try {
      const { items } = await this.api.list<TimelineEntry>(`/devices/${device}/timeline`);
      if (device !== this.device() || this.list.items()[0] !== first) return;
      const known = items.findIndex((entry) => key(entry) === key(first));
      if (known < 0) return this.list.reload();
      for (const entry of items.slice(0, known).reverse()) this.list.prepend(entry);
    } catch {
      /* the next event, or the connection's return, tries again */
    }
  }
}

function key({ at, kind, text }: TimelineEntry): string {
  return `${at} ${kind} ${text}`;
}

function shown(entry: TimelineEntry) {
  const { data } = entry;
  const text = (name: string) => (typeof data[name] === 'string' ? (data[name] as string) : null);
  const number = (name: string) => (typeof data[name] === 'number' ? (data[name] as number) : null);
  const policy = text('policy');
  return {
    ...entry,
    key: key(entry),
    look: KINDS[entry.kind] ?? { icon: mdiPlusCircleOutline, text: entry.kind },
    clock: clockTime(entry.at).slice(0, 8),
    words: explainedDevice(entry.text),
    rollout: number('rollout_id'),
    policy: policy && { name: policy, revision: text('revision'), line: number('line'), file: text('file') },
  };
}
