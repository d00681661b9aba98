//! Tokens, health and reflection.

use consort_api_grpc::ServeConfig;
use consort_engine::Config;
use consort_proto::v1::{self, worker_message::Kind, worker_service_client::WorkerServiceClient};
use consort_types::Code;
use tonic::{Request, metadata::MetadataValue};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb;

use crate::support::{Server, error_of, hello, instance, soon};

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

#[tokio::test]
async fn with_a_token_only_those_come_in_who_have_it() {
    let server = Server::with(Some("sesame"), Config::default(), ServeConfig::default()).await;
    let mut workers = WorkerServiceClient::new(server.channel.clone());
    let said = || {
        let kind = Some(Kind::Hello(hello(vec![instance("worker", "work", 1)])));
        let messages = vec![v1::WorkerMessage { instance: 0, kind }];
        futures::stream::iter([v1::WorkerMessages { messages }])
    };
    for request in [Request::new(said()), with_token(said(), "sesam")] {
        let status = workers.connect(request).await.unwrap_err();
        let error = error_of(&status);
        assert_eq!((status.code(), error.code), (tonic::Code::Unauthenticated, Code::Denied));
        assert!(error.hint.unwrap().contains("Bearer"));
    }
    let mut heard = workers.connect(with_token(said(), "sesame")).await.unwrap().into_inner();
    assert_eq!(soon("a welcome", heard.message()).await.unwrap().unwrap().messages.len(), 1);
    let refused = server.worker(hello(vec![instance("worker", "work", 1)])).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let health = HealthClient::new(server.channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(health.unwrap().into_inner().status(), ServingStatus::Serving);
    assert_eq!(services_v1(&server, None).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    assert!(services_v1(&server, Some("sesame")).await.unwrap().contains(&"consort.v1.WorkerService".to_owned()));
}

#[tokio::test]
async fn health_is_what_the_engine_says() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "consort.v1.WorkerService"] {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(health.check(of("a.B")).await.unwrap_err().code(), tonic::Code::NotFound);
    let mut unknown = health.watch(of("a.B")).await.unwrap().into_inner();
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let mut watched = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.engine.stop_now().await;
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    let now = soon("the change", watched.message()).await.unwrap().unwrap();
    assert_eq!(now.status(), ServingStatus::NotServing);
}

async fn services_v1(server: &Server, token: Option<&str>) -> Result<Vec<String>, tonic::Status> {
    use pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest as Asks};
    let asked =
        ServerReflectionRequest { message_request: Some(Asks::ListServices(String::new())), ..Default::default() };
    let asked = futures::stream::iter([asked]);
    let request = match token {
        Some(token) => with_token(asked, token),
        None => Request::new(asked),
    };
    let mut client = pb::v1::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let answer = client.server_reflection_info(request).await?.into_inner().message().await?.unwrap();
    match answer.message_response {
        Some(pb::v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => panic!("expected services, found {other:?}"),
    }
}

const SERVICES: [&str; 3] =
    ["consort.v1.WorkerService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

#[tokio::test]
async fn reflection_tells_every_service() {
    let server = Server::start().await;
    let services = services_v1(&server, None).await.unwrap();
    for service in SERVICES {
        assert!(services.iter().any(|found| found == service), "{service} is missing in {services:?}");
    }
}

#[tokio::test]
async fn the_older_reflection_tells_a_services_file() {
    use pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest as Asks, server_reflection_response::MessageResponse as Answers,
    };
    let server = Server::start().await;
    let symbol = "consort.v1.WorkerService".to_owned();
    let asked =
        ServerReflectionRequest { message_request: Some(Asks::FileContainingSymbol(symbol)), ..Default::default() };
    let mut client = ServerReflectionClient::new(server.channel.clone());
    let mut answers = client.server_reflection_info(futures::stream::iter([asked])).await.unwrap().into_inner();
    match answers.message().await.unwrap().unwrap().message_response {
        Some(Answers::FileDescriptorResponse(files)) => {
            let name = b"consort/v1/worker.proto";
            assert!(files.file_descriptor_proto[0].windows(name.len()).any(|part| part == name));
        }
        other => panic!("expected a file, found {other:?}"),
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let server = Server::start().await;
    let mut client = tonic::client::Grpc::new(server.channel.clone());
    client.ready().await.unwrap();
    let path = "/consort.v1.WorkerService/Nothing".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<v1::Leaving, v1::Drain>::default();
    let status = client.unary(Request::new(v1::Leaving::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}
