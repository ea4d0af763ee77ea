import { ChangeDetectionStrategy, Component, computed, effect, inject, input, signal, untracked } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatSelectModule } from '@angular/material/select';
import { Router, RouterLink } from '@angular/router';
import { mdiPackageVariantClosed } from '@mdi/js';
import { Api, reload } from '../../core/api';
import { CHIP_NAMES } from '../../core/chips';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { bytes, counted } from '../../core/format';
import { Firmware, FleetSummary } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { Session } from '../../core/session';
import { Frame } from '../../ui/frame';
import { More } from '../../ui/more';
import { Empty, Loading } from '../../ui/notice';
import { PageHeader } from '../../ui/page-header';
import { Time } from '../../ui/time';
import { Upload } from './upload';

/** The images there are, who runs them, and where new ones come in. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Empty,
    Frame,
    Loading,
    MatButtonModule,
    MatFormFieldModule,
    MatSelectModule,
    More,
    PageHeader,
    RouterLink,
    Time,
    Upload,
  ],
  host: {
    '(document:dragover)': 'dragOver($event)',
    '(document:dragleave)': 'dragLeave($event)',
    '(document:drop)': 'drop($event)',
  },
  templateUrl: './firmware.html',
  styleUrl: './firmware.scss',
})
export class FirmwarePage {
  private readonly api = inject(Api);
  private readonly router = inject(Router);
  protected readonly operator = inject(Session).operator;

  readonly chip = input<string>();

  protected readonly icon = mdiPackageVariantClosed;
  protected readonly chips = CHIP_NAMES;
  protected readonly size = bytes;
  protected readonly counted = counted;
  protected readonly list = new PagedList<Firmware>((cursor) =>
    this.api.list('/firmware/list', { chip: this.chip(), cursor }),
  );
  private readonly summary = this.api.resource<FleetSummary>(() => '/fleet/summary');
  /** How many devices run an image, by its id; null: not known. */
  protected readonly runs = computed(() => {
    if (!this.summary.hasValue()) return null;
    const counts = new Map<number, number>();
    for (const { firmware_id: id, devices } of this.summary.value()!.versions) {
      if (id !== null) counts.set(id, (counts.get(id) ?? 0) + devices);
    }
    return counts;
  });

  protected readonly opened = signal(false);
  protected readonly over = signal(false);
  protected readonly file = signal<File | null>(null);
  protected readonly nothing = computed(() => this.list.empty() && !this.chip());
  protected readonly taking = computed(() => this.operator() && (this.opened() || this.over() || this.nothing()));

  constructor() {
    effect(() => {
      this.chip();
      untracked(() => this.list.restart());
    });
    const reread = coalesce(() => {
      this.list.reload();
      return reload(this.summary);
    }, 1000);
    inject(Feed).watch(
      () => ['fleet'],
      ({ event }) => event === 'firmware' && reread(),
      reread,
    );
  }

  protected filter(chip: string | null): void {
    this.router.navigate([], { queryParams: { chip }, queryParamsHandling: 'merge' });
  }

  protected came(): void {
    this.opened.set(true); // stays, with what was uploaded, where it was open because there was nothing
    this.list.reload();
    this.summary.reload();
  }

  protected dragOver(event: DragEvent): void {
    if (!this.operator() || !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.over.set(true);
  }

  protected dragLeave(event: DragEvent): void {
    if (!event.relatedTarget) this.over.set(false); // out of the window
  }

  protected drop(event: DragEvent): void {
    if (!this.over()) return;
    event.preventDefault();
    this.over.set(false);
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    this.file.set(file);
    this.opened.set(true);
  }
}
