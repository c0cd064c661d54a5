import { Button } from '@pf/Button'
import { Component, type ReactNode } from 'react'
import { useTexts } from '../preferences'
import { Empty } from './Empty'

interface Props {
  /** Another one is another try. */
  at: string
  children: ReactNode
}

/** Keeps the rest of the pages in use when one breaks. */
export class Breakage extends Component<Props, { brokenAt?: string }> {
  override state: { brokenAt?: string } = {}

  static getDerivedStateFromError() {
    return { brokenAt: window.location.pathname }
  }

  override componentDidUpdate(before: Props) {
    if (before.at !== this.props.at && this.state.brokenAt !== undefined) {
      this.setState({ brokenAt: undefined })
    }
  }

  override render() {
    return this.state.brokenAt === undefined ? this.props.children : <Broken />
  }
}

function Broken() {
  const t = useTexts()
  return (
    <Empty title={t.common.broken} status="danger" actions={<Button onClick={() => window.location.reload()}>{t.common.reload}</Button>}>
      {t.common.brokenBody}
    </Empty>
  )
}
