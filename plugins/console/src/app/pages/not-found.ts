import { ChangeDetectionStrategy, Component } from '@angular/core';
import { RouterLink } from '@angular/router';
import { PageHeader } from '../ui/page-header';

@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [PageHeader, RouterLink],
  template: `<otad-header title="There is no such page"
    ><p>Try <a routerLink="/">Home</a>.</p></otad-header
  >`,
})
export class NotFoundPage {}
