//! goldseal-verifier: registers machines, polls their TPM quotes, and judges them by sealed whitelists.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use goldseal_cli::policy::list_name;
use goldseal_verifier::config::{Config, DEFAULT_PATH};
use goldseal_verifier::logs;
use goldseal_verifier::policies::{Mark, Policies};
use goldseal_verifier::service::{Service, prepare};
use goldseal_verifier::store::StoreError;
use goldseal_verifier::store::sqlite::SqliteStore;
use goldseal_verifier::time::Time;
use goldseal_verifier_core::header::ListName;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Registers machines, polls their TPM quotes, and judges them by sealed whitelists
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, global = true)]
    config: PathBuf,
    /// Print every key of the configuration, what it means, and what is in effect
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until a signal ends it; SIGHUP reads trust roots, tokens and EK authorities again
    Serve,
    /// Take the database for the right one although it may be an older one, restored from a backup
    AcceptBackup {
        /// Why; it is written down
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Forget which versions of a list were accepted, so that older ones are again
    Reset {
        /// The list's name
        #[arg(long, value_name = "NAME", value_parser = list_name)]
        list: ListName,
        /// Why; it is written down
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

const AFTER_HELP: &str = "\
It needs nothing but a trust root: put its file into /etc/goldseal/roots, and run
  goldseal-verifier serve

Exit codes: 0 ended by a signal, or done; 2 usage; 3 it cannot start or go on";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("goldseal-verifier: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), StoreError> {
    let Arguments { config: path, print_config, command } = arguments;
    // Without a file at the usual place the defaults serve; a file that was named must be there.
    let config =
        if path.as_os_str() == DEFAULT_PATH && !path.exists() { Config::default() } else { Config::read(&path)? };
    if print_config {
        print!("{}", config.print());
        return Ok(());
    }
    logs::start(&config.log)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreError::Database(error.to_string()))?;
    runtime.block_on(async {
        match command {
            None | Some(Command::Serve) => serve(config).await,
            Some(Command::AcceptBackup { reason }) => {
                let _lock = prepare(&config.service.state)?;
                let store = SqliteStore::open(&config.database()).await?;
                Policies::accept_backup(&store, &Mark::at(&config.mark()), &reason, Time::now()).await?;
                store.close().await;
                println!("The database is taken for the right one. Lists that were replaced since may be taken again: look at them.");
                Ok(())
            }
            Some(Command::Reset { list, reason }) => {
                let _lock = prepare(&config.service.state)?;
                let store = SqliteStore::open(&config.database()).await?;
                Policies::reset(&store, &Mark::at(&config.mark()), &list, &reason, Time::now()).await?;
                store.close().await;
                println!("Every version of {list} that the trust root lets pass is taken again.");
                Ok(())
            }
        }
    })
}

async fn serve(config: Config) -> Result<(), StoreError> {
    let on = |kind| signal(kind).map_err(|error| StoreError::Database(error.to_string()));
    let (mut terminate, mut interrupt, mut hang_up) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?, on(SignalKind::hangup())?);
    let service = Service::start(config).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => service.reload().await,
        }
    }
    tracing::info!("ending: what is under way is finished");
    service.stop().await;
    Ok(())
}
