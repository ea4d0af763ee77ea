import {
  afterRenderEffect,
  ChangeDetectionStrategy,
  Component,
  computed,
  DestroyRef,
  effect,
  ElementRef,
  inject,
  input,
  linkedSignal,
  signal,
  untracked,
  viewChild,
} from '@angular/core';
import { toSignal } from '@angular/core/rxjs-interop';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { ActivatedRoute, Router } from '@angular/router';
import { mdiDownload, mdiPause, mdiPlay } from '@mdi/js';
import { Api, ApiError } from '../../core/api';
import { Feed } from '../../core/feed';
import { count, counted, zone } from '../../core/format';
import { LogLine, Page } from '../../core/models';
import { save } from '../../core/save';
import { Copy } from '../../ui/copy';
import { Icon } from '../../ui/icon';
import { Empty, Loading, Problem } from '../../ui/notice';
import { asText, before, filtered, LogBuffer } from './log-buffer';

const PAGE = 200;

/** The device's log as a terminal shows it: the newest line is the last, and new ones push it up. */
@Component({
  selector: 'otad-device-logs',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Copy,
    Empty,
    FormsModule,
    Icon,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
    Problem,
  ],
  templateUrl: './device-logs.html',
  styleUrl: './device-logs.scss',
})
export class DeviceLogs {
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  private readonly route = inject(ActivatedRoute);
  private readonly query = toSignal(this.route.queryParamMap, { requireSync: true });

  readonly device = input.required<number>();
  readonly code = input.required<string>();

  protected readonly icons = { mdiDownload, mdiPause, mdiPlay };
  protected readonly zone = zone();
  protected readonly count = count;
  protected readonly counted = counted;
  protected readonly levels = [
    { key: '', text: 'All levels' },
    { key: 'info', text: 'Info and worse' },
    { key: 'warn', text: 'Warnings and errors' },
    { key: 'error', text: 'Errors' },
  ];

  protected readonly buffer = new LogBuffer();
  protected readonly level = linkedSignal(() => this.query().get('level') ?? '');
  protected readonly text = linkedSignal(() => this.query().get('find') ?? '');
  protected readonly shown = computed(() => filtered(this.buffer.lines(), this.level(), this.text()));
  protected readonly whole = () => asText(this.shown());
  protected readonly fresh = signal(true); // nothing was read yet
  protected readonly loading = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  /** Where older lines go on: null for no more. Stale once lines were let go at that end. */
  protected readonly cursor = signal<string | null>(null);
  private stale = false;
  private came: LogLine[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly frame = viewChild<ElementRef<HTMLElement>>('frame');

  constructor() {
    effect(() => {
      this.device();
      untracked(() => this.read());
    });
    inject(Feed).watch(
      () => [`device:${this.device()}`],
      ({ event, data }) => {
        if (event !== 'log') return;
        this.came.push(data as LogLine);
        this.timer ??= setTimeout(() => this.flush(), 100); // a burst is one change of the page
      },
      () => this.buffer.paused() || this.read(),
    );
    inject(DestroyRef).onDestroy(() => clearTimeout(this.timer));
    // Whoever follows stays at the end.
    afterRenderEffect(() => {
      this.shown();
      const frame = this.frame()?.nativeElement;
      if (frame && !untracked(this.buffer.paused)) frame.scrollTop = frame.scrollHeight;
    });
  }

  protected async read(): Promise<void> {
    const page = await this.page(null);
    if (!page) return;
    this.buffer.restart(page.items);
    this.cursor.set(page.next);
    this.stale = false;
    this.fresh.set(false);
  }

  protected async older(): Promise<void> {
    this.buffer.pause();
    const first = this.buffer.lines()[0];
    let cursor = this.stale ? null : this.cursor();
    // Lines at this end were let go: the way to them leads over those that are there.
    for (let page; ; cursor = page.next) {
      page = await this.page(cursor);
      if (!page) return;
      const older = this.stale ? before(page.items, first) : page.items;
      if (!older && page.next) continue;
      this.stale = false;
      this.cursor.set(page.next);
      const frame = this.frame()!.nativeElement;
      const line = frame.querySelector('.line'); // stays where it is on the screen
      const top = line?.getBoundingClientRect().top ?? 0;
      this.buffer.older(older ?? []);
      setTimeout(() => (frame.scrollTop += (line?.getBoundingClientRect().top ?? top) - top));
      return;
    }
  }

  protected toggle(): void {
    if (!this.buffer.paused()) this.buffer.pause();
    else if (!this.buffer.resume()) this.read();
  }

  /** Who scrolls up reads: nothing moves until they come back to the end. */
  protected onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.frame()!.nativeElement;
    const away = scrollHeight - clientHeight - scrollTop;
    if (away > 60 && !this.buffer.paused()) this.buffer.pause();
    else if (away < 4 && this.buffer.paused() && this.buffer.waiting()) this.toggle();
  }

  protected filter(): void {
    this.router.navigate([], {
      relativeTo: this.route,
      queryParams: { level: this.level() || null, find: this.text().trim() || null },
      queryParamsHandling: 'merge',
      replaceUrl: true,
    });
  }

  protected clear(): void {
    this.level.set('');
    this.text.set('');
    this.filter();
  }

  protected download(): void {
    save(`${this.code().replaceAll(':', '-')}.log`, asText(this.shown(), true), 'text/plain');
  }

  private flush(): void {
    this.timer = undefined;
    const lines = this.came;
    this.came = [];
    if (this.buffer.push(lines)) {
      this.stale = true;
      this.cursor.update((cursor) => cursor ?? '');
    }
  }

  private async page(cursor: string | null): Promise<{ items: LogLine[]; next: string | null } | null> {
    const device = this.device();
    this.loading.set(true);
    try {
      const page = await this.api.get<Page<LogLine>>(`/devices/${device}/logs`, { limit: PAGE, cursor });
      if (device !== this.device()) return null;
      this.error.set(null);
      return page;
    } catch (error) {
      this.error.set(ApiError.of(error));
      return null;
    } finally {
      this.loading.set(false);
    }
  }
}
