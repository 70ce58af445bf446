"""What a CloudTrail record acted upon: its ``resources``, else a well-known request parameter."""

from __future__ import annotations

from typing import Any, Final

from trailseal.formats.foreign import text_of
from trailseal.model.event import Resource

_DOMAIN: Final = ".amazonaws.com"

REQUEST_PARAMETERS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "cloudtrail": (("name", "AWS::CloudTrail::Trail"), ("trailName", "AWS::CloudTrail::Trail")),
    "dynamodb": (("tableName", "AWS::DynamoDB::Table"),),
    "ec2": (
        ("snapshotId", "AWS::EC2::Snapshot"),
        ("volumeId", "AWS::EC2::Volume"),
        ("imageId", "AWS::EC2::Image"),
        ("networkInterfaceId", "AWS::EC2::NetworkInterface"),
        ("groupId", "AWS::EC2::SecurityGroup"),
        ("groupName", "AWS::EC2::SecurityGroup"),
        ("allocationId", "AWS::EC2::EIP"),
        ("natGatewayId", "AWS::EC2::NatGateway"),
        ("internetGatewayId", "AWS::EC2::InternetGateway"),
        ("routeTableId", "AWS::EC2::RouteTable"),
        ("instanceId", "AWS::EC2::Instance"),
        ("keyName", "AWS::EC2::KeyPair"),
        ("subnetId", "AWS::EC2::Subnet"),
        ("vpcId", "AWS::EC2::VPC"),
    ),
    "eks": (("name", "AWS::EKS::Cluster"), ("clusterName", "AWS::EKS::Cluster")),
    "guardduty": (("detectorId", "AWS::GuardDuty::Detector"),),
    "iam": (
        ("accessKeyId", "AWS::IAM::AccessKey"),
        ("instanceProfileName", "AWS::IAM::InstanceProfile"),
        ("roleName", "AWS::IAM::Role"),
        ("userName", "AWS::IAM::User"),
        ("groupName", "AWS::IAM::Group"),
        ("policyArn", "AWS::IAM::ManagedPolicy"),
        ("policyName", "AWS::IAM::ManagedPolicy"),
    ),
    "kms": (("keyId", "AWS::KMS::Key"), ("targetKeyId", "AWS::KMS::Key")),
    "lambda": (("functionName", "AWS::Lambda::Function"),),
    "logs": (("logGroupName", "AWS::Logs::LogGroup"),),
    "organizations": (("accountId", "AWS::Organizations::Account"),),
    "rds": (
        ("dBSnapshotIdentifier", "AWS::RDS::DBSnapshot"),
        ("dBInstanceIdentifier", "AWS::RDS::DBInstance"),
        ("dBClusterIdentifier", "AWS::RDS::DBCluster"),
        ("dBSubnetGroupName", "AWS::RDS::DBSubnetGroup"),
    ),
    "rolesanywhere": (("name", "AWS::RolesAnywhere::TrustAnchor"),),
    "s3": (("bucketName", "AWS::S3::Bucket"), ("bucket", "AWS::S3::Bucket")),
    "secretsmanager": (
        ("secretId", "AWS::SecretsManager::Secret"),
        ("name", "AWS::SecretsManager::Secret"),
    ),
    "sns": (("topicArn", "AWS::SNS::Topic"), ("name", "AWS::SNS::Topic")),
    "sqs": (("queueUrl", "AWS::SQS::Queue"), ("queueName", "AWS::SQS::Queue")),
    "ssm": (
        ("commandId", "AWS::SSM::Command"),
        ("documentName", "AWS::SSM::Document"),
        ("instanceId", "AWS::EC2::Instance"),
        ("name", "AWS::SSM::Parameter"),
        ("resourceId", "AWS::SSM::Parameter"),
    ),
    "sts": (("roleArn", "AWS::IAM::Role"),),
}
"""Service (``eventSource`` up to its domain): parameters in order of preference, each with its resource type."""


def resource_of(body: dict[str, Any]) -> Resource | None:
    """The resource of a record, or None: ``resources[0]`` first, then the first parameter of the service's row."""
    listed = body.get("resources")
    if isinstance(listed, list) and listed:
        name = text_of(listed[0], "ARN") or text_of(listed[0], "ARNPrefix")
        if name is not None:
            return Resource(name, _fitting_type(text_of(listed[0], "type")))
    service = (text_of(body, "eventSource") or "").removesuffix(_DOMAIN)
    parameters = body.get("requestParameters")
    for parameter, kind in REQUEST_PARAMETERS.get(service, ()):
        name = text_of(parameters, parameter)
        if name is not None:
            return Resource(name, kind)
    return None


def _fitting_type(kind: str | None) -> str | None:
    return None if kind is None or "/" in kind else kind
